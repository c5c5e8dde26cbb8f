#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The installation and the runtime on aarch64, under user-mode emulation, against this x86-64
# machine: the same model, the same two synthetic cameras, mask by mask.
set -euo pipefail
umask 022

usage() {
    cat << 'END'
usage: jetson/emulated/prove.sh [options]

Make an arm64 root file system, run install.sh --software-only in it with a small model and then with
a signed bundle of it, install the same packages for this machine, run a synthetic pair of cameras on
both, and compare the masks of the same frames, which are drawn and recorded here. Needs no root and
no binfmt; takes about ten minutes.

  --keep DIR          work in DIR and leave it; what a former run installed there is used again
  --suite NAME        jammy (Python 3.10), noble (3.12) or bookworm (3.11); by default the first of
                      these whose mirror answers
  --mirror URL        mirror of the suite
  --model F.onnx      a model file; by default differseg-edge at 96x128 is exported
  --frames N          results to compare; 8
  --python FILE       this machine's Python for its own installation; /usr/bin/python3
  -h, --help

Needs debootstrap, fakeroot, proot and qemu-aarch64-static, openssl, and differseg on the path.
Exit status: 0 the masks agree, 1 they do not, 2 wrong input, 3 something is missing or fails.
END
}

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE=$(cd "$HERE/../.." && pwd)
KEEP="" SUITE="" MIRROR="" MODEL="" FRAMES=8 PYTHON=/usr/bin/python3
TIMES=()

# shellcheck source=root.sh
source "$HERE/root.sh"

# fail STATUS TEXT
fail() {
    printf 'problem: %s\n' "$2" >&2
    exit "$1"
}

# timed NAME COMMAND...: run it, with its output in a file; its time goes to the table.
timed() {
    local name=$1 begin=$SECONDS log=$WORK/log/$1.log
    shift
    printf '%s ...\n' "$name"
    if ! "$@" > "$log" 2>&1 < /dev/null; then
        tail -n 12 "$log" >&2
        fail 3 "$name failed; its last lines stand above, the rest in $log, which stays with --keep DIR"
    fi
    TIMES+=("$(printf '%-34s %4d s' "$name" $((SECONDS - begin)))")
}

read_arguments() {
    local name
    while (($#)); do
        case $1 in
            --keep | --suite | --mirror | --model | --frames | --python)
                if (($# < 2)) || [[ -z $2 ]]; then fail 2 "$1: a value is missing (see --help)"; fi
                name=${1#--}
                printf -v "${name^^}" '%s' "$2"
                shift
                ;;
            -h | --help) usage; exit 0 ;;
            *) fail 2 "unknown argument $1 (see --help)" ;;
        esac
        shift
    done
    if [[ ! $FRAMES =~ ^[1-9][0-9]{0,3}$ ]]; then
        fail 2 "--frames: expected a whole number from 1 to 9999, got $FRAMES"
    elif [[ -n $SUITE && " ${SUITES[*]} " != *" $SUITE "* ]]; then
        fail 2 "--suite $SUITE: expected one of $(join_by ', ' "${SUITES[@]}")"
    elif [[ -n $MODEL && ! -f $MODEL ]]; then
        fail 2 "--model: $MODEL: there is no such file"
    elif [[ -n $MIRROR && -z $SUITE ]]; then
        fail 2 "--mirror: name its --suite as well"
    fi
}

check_tools() {
    local missing=() tool
    OURS=$(dirname "$(command -v differseg || echo .)")/python3
    for tool in debootstrap fakeroot proot openssl; do
        if ! command -v "$tool" > /dev/null; then missing+=("$tool"); fi
    done
    if ! command -v qemu-aarch64-static > /dev/null; then missing+=(qemu-user-static); fi
    if ((${#missing[@]})); then
        fail 3 "not installed: ${missing[*]}; install with: sudo apt install ${missing[*]}"
    elif ! command -v differseg > /dev/null; then
        fail 3 "differseg is not on the path; activate its environment, or: pip install -e '.[export,signing]'"
    elif ! "$OURS" -c 'import differseg.export.parity_result, differseg.bundle' 2> /dev/null; then
        fail 3 "$OURS: differseg does not load; activate its environment, or: pip install -e '.[export,signing]'"
    elif ! "$PYTHON" -c 'import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))'; then
        fail 3 "$PYTHON: expected Python 3.10 to 3.12 with venv; name one with --python, or: sudo apt install python3-venv"
    fi
}

# installation PLACE FILE [OPTION...]: the command that installs from the copied tree.
installation() {
    local prefix=$1
    shift
    printf '%s\0' bash "$prefix/src/jetson/install.sh" --software-only --prefix "$prefix/inst" \
        --bench-s 2 "$@"
}

make_model() {
    if [[ -n $MODEL ]]; then
        cp "$MODEL" "$WORK/job/model.onnx"
    else
        differseg export --model differseg-edge --size 96x128 --no-real -o "$WORK/job/model.onnx"
    fi
    openssl genpkey -algorithm ed25519 -out "$WORK/job/sign.pem"
    openssl pkey -in "$WORK/job/sign.pem" -pubout -out "$WORK/job/verify.pem"
    differseg bundle "$WORK/job/model.onnx" -o "$WORK/job/model.dsb" --key "$WORK/job/sign.pem"
    # The same with one byte changed, which has to be refused.
    "$OURS" - "$WORK/job" << 'END'
import sys
from pathlib import Path
data = bytearray(Path(sys.argv[1], "model.dsb").read_bytes())
data[len(data) // 2] ^= 1
Path(sys.argv[1], "changed.dsb").write_bytes(data)
END
}

# copy_tree DIR: what git tracks, as it stands here, and the job.
copy_tree() {
    mkdir -p "$1/src" "$1/job"
    git -C "$SOURCE" ls-files -z --cached |
        (cd "$SOURCE" && tar --create --null --files-from=- --ignore-failed-read) |
        tar --extract --directory "$1/src"
    cp "$WORK"/job/{model.onnx,model.dsb,changed.dsb,verify.pem} "$1/job/"
}

# cameras PLACE SOURCE MASKS [OPTION...]: the command that runs a pair of cameras, with the model that
# came in the bundle.
cameras() {
    local place=$1 source=$2 masks=$3
    shift 3
    printf '%s\0' "$place/inst/venv/bin/differseg" run --model "$place/inst/models/given/model.onnx" \
        --rgb "$source" --thermal "$source" --frames "$FRAMES" --headless --masks "$masks" --json "$@"
}

# refused COMMAND...: it has to end with status 2, because of the bundle.
refused() {
    local status=0
    "$@" 2>&1 | tee "$WORK/refused" || status=${PIPESTATUS[0]}
    if ((status != 2)) || ! grep -q 'changed\.dsb: error\[' "$WORK/refused"; then
        echo "a changed bundle was not refused: exit status $status, expected 2"
        return 1
    fi
}

# side NAME PLACE RUNNER...: installation and bundle on one side.
side() {
    local name=$1 place=$2 command
    shift 2
    mapfile -d '' command < <(installation "$place" "$place/job/model.onnx")
    timed "$name-install" "$@" "${command[@]}"
    grep -q '^plugins: left out, --software-only' "$WORK/log/$name-install.log" ||
        fail 3 "$name: install.sh did not say why it leaves out TensorRT; see $WORK/log/$name-install.log"
    cp "$place/inst/report/report.txt" "$WORK/log/$name-report.txt"
    mapfile -d '' command < <(installation "$place" "$place/job/changed.dsb" --key "$place/job/verify.pem")
    timed "$name-changed-bundle" refused "$@" "${command[@]}"
    mapfile -d '' command < <(installation "$place" "$place/job/model.dsb" --key "$place/job/verify.pem")
    timed "$name-bundle" "$@" "${command[@]}"
}

main() {
    read_arguments "$@"
    check_tools
    if [[ -n $KEEP ]]; then
        if [[ -d $KEEP && ! -e $KEEP/.differseg-proof && -n $(ls -A "$KEEP") ]]; then
            fail 2 "--keep $KEEP: the folder holds other files; give an empty or a new one"
        fi
        mkdir -p "$KEEP"
        WORK=$(cd "$KEEP" && pwd)
        : > "$WORK/.differseg-proof"
    else
        WORK=$(mktemp -d)
        trap 'rm -rf "$WORK"' EXIT
    fi
    ROOT=$WORK/root ARM=$WORK/arm64 X86=$WORK/x86
    rm -rf "$WORK/job" "$WORK/log" {"$ARM","$X86"}/{src,job,masks,drawn,session}
    mkdir -p "$WORK"/{log,job} "$ARM" "$X86"
    choose_suite
    timed root-file-system make_root "$ROOT"
    timed model make_model
    copy_tree "$ARM"
    copy_tree "$X86"
    side x86 "$X86" env
    side arm64 "$ARM" emulate "$ROOT" "$ARM"
    # The scene is drawn here and recorded: OpenCV draws it up to 3 levels apart on the two machines.
    local drawn=synthetic:seed=3,night=1,paced=0 command
    mapfile -d '' command < <(cameras "$X86" "$drawn" "$X86/masks" --record "$X86/session")
    timed x86-cameras "${command[@]}"
    cp -R "$X86/session" "$ARM/session"
    mapfile -d '' command < <(cameras "$ARM" "session:$ARM/session" "$ARM/masks")
    timed arm64-session emulate "$ROOT" "$ARM" "${command[@]}"
    mapfile -d '' command < <(cameras "$ARM" "$drawn" "$ARM/drawn")
    timed arm64-cameras emulate "$ROOT" "$ARM" "${command[@]}"
    printf '\n%s, %s, %s against %s\n' "$SUITE" "$(sed -nE 's/^machine +//p' "$WORK/log/arm64-report.txt")" \
        "Python $(sed -nE 's/^python +//p' "$WORK/log/arm64-report.txt")" \
        "$(uname -m), Python $(sed -nE 's/^python +//p' "$WORK/log/x86-report.txt")"
    printf '%s\n' "${TIMES[@]}"
    sed -n '/^steps/,/^$/p' "$WORK/log/arm64-report.txt"
    printf '\nscene drawn anew on arm64, for information\n'
    "$OURS" "$HERE/compare_masks.py" "$X86/masks" "$ARM/drawn" --expect "$FRAMES" 2> /dev/null || true
    printf '\nthe same recorded frames\n'
    "$OURS" "$HERE/compare_masks.py" "$X86/masks" "$ARM/masks" --expect "$FRAMES"
}

main "$@"
