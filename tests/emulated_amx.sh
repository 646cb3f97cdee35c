#!/usr/bin/env bash
# The encoder's tests on a processor with AMX that this machine need not be: a Linux in Bochs, a free emulator that knows
# tiles. The whole way is walked: CPUID, XCR0, Linux's permission, the first use of a tile, kernels, passes, signals.
#
#   tests/emulated_amx.sh WORK BOCHS_SOURCE KERNEL_PACKAGE [VIT_TEST_FILTER…]
#
# WORK           a folder that is made; the emulator is built there once
# BOCHS_SOURCE   bochs_3.0+dfsg.orig.tar.xz       apt-get source --download-only bochs        (Debian 13 or later)
# KERNEL_PACKAGE linux-image-6.…-cloud-amd64*.deb apt-get download the package that linux-image-cloud-amd64 depends on
#
# Also needed: apt-get install g++ make bochsbios vgabios isolinux syslinux-common xorriso busybox-static cpio
#
# It says nothing about speed: an emulated multiplication takes about as long as ten thousand real ones. The last test,
# of signals and many threads, takes an hour; the ones before it a few minutes.
set -euo pipefail
[ $# -ge 3 ] || { sed -n 2,14p "$0"; exit 2; }
mkdir -p "$1"
work=$(realpath "$1") bochs=$(realpath "$2") kernel=$(realpath "$3")
shift 3
cd "$(dirname "$(realpath "$0")")/.."

# --- the emulator ---
if [ ! -x "$work/bochs/bochs" ]; then
    mkdir -p "$work/bochs"
    tar xf "$bochs" -C "$work/bochs" --strip-components 1
    (
        cd "$work/bochs"
        ./configure --with-nogui --enable-cpu-level=6 --enable-x86-64 --enable-avx --enable-evex --enable-amx \
            --enable-fast-function-calls --enable-handlers-chaining >configure.log 2>&1
        cd cpu
        # Linux uses tiles only where the processor can refuse their first use (XFD: a register, a bit in CPUID and an
        # exception), which Bochs 3.0 does not know.
        sed -i 's|leaf->eax .= (1<<3);|&\n    leaf->eax \|= 1<<4;|
                s|leaf->ecx = (cpu->ia32_xss_suppmask.*|&\n      if (subfunction == 18) leaf->ecx \|= 1<<2;|' cpuid.cc
        sed -i '0,/#define LOG_THIS.*/s||&\nBit64u xfd, xfd_error;|
                0,/  msr_desc.BX_MSR_XSS. = /s||  msr_desc[BX_MSR_IA32_XFD] = new MSR_Descriptor("XFD", BX_ISA_AMX);\n  msr_desc[BX_MSR_IA32_XFD_ERROR] = new MSR_Descriptor("XFD_ERROR", BX_ISA_AMX);\n&|
                s|case BX_MSR_XSS:|case BX_MSR_IA32_XFD: XFD; break;\n    case BX_MSR_IA32_XFD_ERROR: XFD_ERROR; break;\n    &|' msr.cc
        sed -i '0,/: XFD;/s||: val64 = xfd;|; 0,/: XFD_ERROR;/s||: val64 = xfd_error;|
                s|: XFD;|: xfd = val_64; handleAvxModeChange();|; s|: XFD_ERROR;|: xfd_error = val_64;|' msr.cc
        sed -i '0,/#define LOG_THIS.*/s||&\nextern Bit64u xfd, xfd_error;|
                s/(BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK)) != 0)/(BX_XCR0_XTILECFG_MASK | BX_XCR0_XTILEDATA_MASK)) != 0 || (xfd \& (1<<18)))/
                /::BxNoAMX/,/BX_ASSERT/s|BX_ASSERT|if (xfd \& (1<<18)) { xfd_error \|= 1<<18; exception(BX_NM_EXCEPTION, 0); }\n  &|' proc_ctrl.cc
        # It forgets half of every tile, and swaps rows and columns, when it saves a process's tiles.
        sed -i 's|row < BX_TILE_REGISTERS|row < BX_TILE_MAX_ROWS|
                s|tile_use_tracker == 0|tile_use_tracker != 0|
                s|\(vmm16u(8+n) *= .*\)rows;|\1bytes_per_row;|; s|\(vmmubyte(48+n) *= .*\)bytes_per_row;|\1rows;|' xsave.cc
        cd ..
        make -j"$(nproc)" >make.log 2>&1
    )
fi

# --- what runs in it ---
messages=$(cargo test --workspace --no-run --message-format=json)
built() { grep "\"name\":\"$1\"" <<<"$messages" | grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4; }
root=$work/root
rm -rf "$root" && mkdir -p "$root"/{bin,proc,sys,dev,tmp,t,lib64}
cp /bin/busybox "$root/bin"
for name in sh mount sleep poweroff; do ln -s busybox "$root/bin/$name"; done
for name in vit golden_vit interrupted vitals-under-test; do
    strip -o "$root/t/$name" "$(built $name)"
    ldd "$root/t/$name" | grep -o '/lib[^ ]*' | sort -u | while read -r library; do
        [ -e "$root$library" ] || cp -L --parents "$library" "$root"
    done
done
mkdir -p "$root$PWD/tests/golden"
cp -r tests/golden/fixtures "$root$PWD/tests/golden"
cat >"$root/init" <<INIT
#!/bin/sh
export PATH=/bin TMPDIR=/tmp HOME=/tmp
mount -t proc x /proc && mount -t sysfs x /sys && mount -t devtmpfs x /dev && mount -t tmpfs x /tmp
failed=0
run() { echo "== \$*"; "\$@" 2>&1 || failed=\$?; }
run /t/vitals-under-test doctor
run /t/vit --test-threads 1 ${*:-cpu:: candle:: --skip gelu_is_within}
run /t/golden_vit --test-threads 1
run /t/interrupted --test-threads 1
echo "== all done, exit \$failed"
sleep 3
poweroff -f
INIT
chmod +x "$root/init"

# --- the machine ---
mkdir -p "$work/disc/isolinux"
(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$work/disc/initrd.gz"
rm -rf "$work/kernel" && dpkg -x "$kernel" "$work/kernel"
cp "$work"/kernel/boot/vmlinuz-* "$work/disc/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/disc/isolinux"
cat >"$work/disc/isolinux/isolinux.cfg" <<BOOT
default linux
label linux
 kernel /vmlinuz
 append initrd=/initrd.gz console=ttyS0 quiet mitigations=off nokaslr no5lvl clearcpuid=fsrm,erms tsc=reliable panic=-1
BOOT
xorriso -as mkisofs -quiet -o "$work/disc.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$work/disc"
# Without AVX-512 BF16, which Bochs 3.0 gets wrong: one instruction rounds what lies behind its operand (vitals finds that
# out and rounds without it), another misreads operands on the stack.
cat >"$work/machine" <<MACHINE
display_library: nogui
cpu: model=sapphire_rapids, count=1, ips=100000000, reset_on_triple_fault=0, exclude_features=avx512bf16
memory: guest=2048, host=2048
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=$work/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/console
log: $work/log
clock: sync=none
MACHINE
: >"$work/console"
"$work/bochs/bochs" -q -f "$work/machine" >"$work/out" 2>&1 &
trap 'kill $! 2>/dev/null || :' EXIT
tail -f --pid $! "$work/console"
# The tests pass without tiles, too.
grep -q '^cpu:amx  *yes, used' "$work/console"
grep -q '^== all done, exit 0' "$work/console"
