#!/usr/bin/env bash
# The encoder's tests on processors that this machine is not: no AVX at all, AVX2, AVX-512 without bf16, and what
# valgrind knows. An illegal instruction ends a run. Skips, and says so, what is not installed (qemu-user, valgrind).
#
#   tests/older_cpus.sh
#
# Left out: tests that install handlers for illegal instructions, which emulators do not survive.
set -euo pipefail
cd "$(dirname "$0")/.."

# The same selection of packages as the test command, so that nothing is built twice.
messages=$(cargo test --workspace --lib --no-run --message-format=json)
binary=$(grep '"name":"vit"' <<<"$messages" | grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4)

try() {
    if command -v "$1" >/dev/null; then
        echo "== $* ($(date +%T))"
        # Rounding over all numbers is the same everywhere, and slow here.
        "$@" "$binary" cpu:: executors_agree_on_every_switch --skip tiles_ --skip gelu_is_within --test-threads 1 2>&1 |
            grep -vE ' \.\.\. ok$|warning: TCG' | sed '/^$/d'
    else
        echo "== $1 is not installed: skipped"
    fi
}

for cpu in Nehalem Haswell Skylake-Server; do
    try qemu-x86_64 -cpu "$cpu"
done
try valgrind -q --error-exitcode=9
