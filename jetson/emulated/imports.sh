#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The packages of constraints.txt under the Pythons of the boards, on emulated aarch64: Debian has
# neither, so CPython is cross-compiled from Ubuntu's source packages.
set -euo pipefail

usage() {
    cat << 'END'
usage: jetson/emulated/imports.sh DIR [VERSION ...]

Cross-compile CPython 3.10.12 and 3.12.3 (Ubuntu 22.04 and 24.04) for aarch64, install the wheels of
constraints.txt beside it, and under emulation load them all with the runtime and run a pair of
synthetic cameras. DIR is a folder of prove.sh --keep: its root file system and its model are used.

Needs what prove.sh needs, aarch64-linux-gnu-gcc, make, xz, and for each version a Python of it for
this machine (pythonVERSION on the path, or pyenv's). About five minutes each on two cores.
Exit status: 0 all load and run, 2 wrong input, 3 something is missing or fails.
END
}

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE=$(cd "$HERE/../.." && pwd)
ARCHIVE=http://archive.ubuntu.com/ubuntu/pool/main/p
declare -A RELEASE=([3.10]=3.10.12 [3.12]=3.12.3)
LIBRARIES=(libffi-dev libffi8 zlib1g-dev zlib1g libssl-dev libssl3 libbz2-dev libbz2-1.0 liblzma-dev liblzma5)

# shellcheck source=root.sh
source "$HERE/root.sh"

# fail STATUS TEXT
fail() {
    printf 'problem: %s\n' "$2" >&2
    exit "$1"
}

check_tools() {
    local missing=() tool
    for tool in aarch64-linux-gnu-gcc make curl xz proot qemu-aarch64-static; do
        if ! command -v "$tool" > /dev/null; then missing+=("$tool"); fi
    done
    if ((${#missing[@]})); then
        fail 3 "not installed: ${missing[*]}; install with: sudo apt install gcc-aarch64-linux-gnu make curl xz-utils proot qemu-user-static"
    fi
}

# quietly NAME COMMAND...: run it with its output in a file.
quietly() {
    local log=$WORK/$1.log
    shift
    "$@" > "$log" 2>&1 < /dev/null || {
        tail -n 8 "$log" >&2
        fail 3 "${*:1:3} failed; its last lines stand above, the rest in $log"
    }
}

# own_python VERSION: this machine's, which builds the other one and judges markers.
own_python() {
    local each
    for each in "$(command -v "python$1" || true)" "$HOME"/.pyenv/versions/"$1".*/bin/python3; do
        if [[ -x $each ]] && "$each" -c 'import zlib' 2> /dev/null; then
            echo "$each"
            return
        fi
    done
    fail 3 "python$1 is not on this machine; install it (apt, pyenv) to build its sister for aarch64"
}

# libraries: headers and libraries of Debian's arm64 packages, below $WORK/libraries.
libraries() {
    local index=$WORK/Packages each path
    if [[ -d $WORK/libraries ]]; then return; fi
    curl --fail --silent --show-error "$(mirror_of bookworm)/dists/bookworm/main/binary-arm64/Packages.xz" |
        xz --decompress > "$index"
    for each in "${LIBRARIES[@]}"; do
        path=$(awk -v name="$each" '$1 == "Package:" { is = $2 == name } is && $1 == "Filename:" { print $2; exit }' "$index")
        curl --fail --silent --show-error -o "$WORK/$each.deb" "$(mirror_of bookworm)/$path"
        dpkg-deb --extract "$WORK/$each.deb" "$WORK/libraries.new"
    done
    mv "$WORK/libraries.new" "$WORK/libraries"
}

# cross_compile VERSION OWN
cross_compile() (
    local release=${RELEASE[$1]} own=$2 usr=$WORK/libraries/usr triplet=aarch64-linux-gnu
    local tar=python$1_$release.orig.tar.xz build=$WORK/build$1
    if [[ -x $WORK/python$1/bin/python$1 ]]; then return; fi
    mkdir -p "$build"
    curl --fail --silent --show-error -o "$WORK/$tar" "$ARCHIVE/python$1/$tar"
    tar --extract --file "$WORK/$tar" --directory "$build" --strip-components=1
    cd "$build"
    # 3.10 looks there for the Python that builds it.
    PATH=$(dirname "$own"):$PATH
    # Nothing is to be found that is this machine's own.
    export PKG_CONFIG_LIBDIR=$usr/lib/$triplet/pkgconfig PKG_CONFIG_SYSROOT_DIR=$WORK/libraries
    CPPFLAGS="-I$usr/include -I$usr/include/$triplet" \
        LDFLAGS="-L$usr/lib/$triplet -L$WORK/libraries/lib/$triplet" \
        quietly "configure$1" ./configure --host=$triplet --build=x86_64-linux-gnu \
        --with-build-python="$own" --prefix="$WORK/python$1" --with-openssl="$usr" \
        --without-ensurepip --disable-test-modules \
        ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no ac_cv_buggy_getaddrinfo=no
    quietly "make$1" make --jobs="$(nproc)"
    quietly "install$1" make install
)

# wheels VERSION OWN: those that a board with glibc 2.35 takes, and differseg itself.
wheels() {
    local platforms=(--platform manylinux2014_aarch64) minor pins
    for ((minor = 35; minor > 16; minor--)); do platforms+=(--platform "manylinux_2_${minor}_aarch64"); done
    mapfile -t pins < <("$2" - "$HERE/../constraints.txt" << 'END'
import sys
from pathlib import Path
from pip._vendor.packaging.requirements import Requirement
for line in Path(sys.argv[1]).read_text().splitlines():
    if line and not line.startswith("#"):
        need = Requirement(line)
        if need.marker is None or need.marker.evaluate({"platform_machine": "aarch64"}):
            print(f"{need.name}{need.specifier}")
END
    )
    rm -rf "$WORK/site$1"
    quietly "wheels$1" "$2" -m pip install --no-deps --only-binary=:all: --target "$WORK/site$1" \
        --implementation cp --python-version "$1" "${platforms[@]}" "${pins[@]}"
    cp -R "$SOURCE/differseg" "$WORK/site$1/differseg"
    cp -R "$SOURCE"/{export,runtime,calibration} "$WORK/site$1/differseg/"
}

main() {
    if [[ ${1:-} == -h || ${1:-} == --help ]]; then usage; exit 0; fi
    if (($# == 0)); then fail 2 "give the folder of prove.sh --keep (see --help)"; fi
    local keep version own
    if [[ ! -f $1/root/.complete || ! -f $1/job/model.onnx ]]; then
        fail 2 "$1: there is no root file system of prove.sh; run jetson/emulated/prove.sh --keep $1 first"
    fi
    check_tools
    keep=$(cd "$1" && pwd)
    shift
    WORK=$keep/imports
    mkdir -p "$WORK"
    cp "$keep/job/model.onnx" "$HERE/load.py" "$WORK/"
    if (($# == 0)); then set -- 3.10 3.12; fi
    for version in "$@"; do
        if [[ -z ${RELEASE[$version]:-} ]]; then fail 2 "version $version: expected ${!RELEASE[*]}"; fi
        own=$(own_python "$version") || exit 3
        libraries
        cross_compile "$version" "$own"
        wheels "$version" "$own"
        quietly "load$version" emulate "$keep/root" "$WORK" "PYTHONPATH=$WORK/site$version" \
            "$WORK/python$version/bin/python$version" "$WORK/load.py"
        tail -n 1 "$WORK/load$version.log"
        quietly "run$version" emulate "$keep/root" "$WORK" "PYTHONPATH=$WORK/site$version" \
            "$WORK/python$version/bin/python$version" -m differseg.cli run --model "$WORK/model.onnx" \
            --rgb synthetic:paced=0 --thermal synthetic:paced=0 --frames 3 --headless --json
        printf 'Python %s: a pair of synthetic cameras gave %s results\n' "$version" \
            "$(tail -n 1 "$WORK/run$version.log" | sed -nE 's/.*"frames": ([0-9]+).*/\1/p')"
    done
}

main "$@"
