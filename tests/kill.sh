#!/usr/bin/env bash
# Kills a study with SIGKILL at random instants, resumes it each time, and compares the finished tables byte by byte with
# those of an undisturbed run.
#
#   tests/kill.sh VITALS STUDY KILLS [args of `vitals run` …]
#
# The test `kill_resume` does the same on a small study with fewer kills.
set -euo pipefail
vitals=$1 study=$2 kills=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

begin=$(date +%s%N)
"$vitals" run "$study" --store "$work/whole" --report "$work/report" "$@" >/dev/null 2>&1
whole_ms=$((($(date +%s%N) - begin) / 1000000))
echo "undisturbed: $whole_ms ms"

landed=0
for ((i = 1; i <= kills; i++)); do
    "$vitals" run "$study" --store "$work/killed" --report "$work/report2" "$@" >/dev/null 2>&1 &
    pid=$!
    # Up to a sixth of a whole run each, so that kills meet every step of it.
    wait_ms=$(((RANDOM * 32768 + RANDOM) % (whole_ms / 6 + 1)))
    sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
    if kill -9 "$pid" 2>/dev/null; then landed=$((landed + 1)); fi
    wait "$pid" 2>/dev/null || true
done
"$vitals" run "$study" --store "$work/killed" --report "$work/report2" "$@" >/dev/null 2>&1

list() { (cd "$1" && find . -type f ! -name ledger.jsonl | sort | xargs sha256sum); }
if diff <(list "$work/whole") <(list "$work/killed") >/dev/null; then
    echo "$landed of $kills kills landed; $(list "$work/whole" | wc -l) files are byte-identical"
else
    echo "tables differ:" && diff <(list "$work/whole") <(list "$work/killed") | head
    exit 1
fi
