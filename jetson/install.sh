#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# From a flashed Jetson to a measured engine: looks at the board, installs the runtime, builds the
# plugin library and the engine, compares the engine with its file, and measures it for a minute.
set -euo pipefail
umask 022 # the service reads it as another user

usage() {
    cat << 'END'
usage: jetson/install.sh [F.onnx | F.dsb] [options] [-- BUILD OPTIONS]

Look at the board, install the runtime into /opt/differseg, build the engine of F here, compare it
with F and measure it. Run it again after an interruption, or with another file: what is done stays.
Fetches nothing but the apt and pip packages that it names first.

  --prefix DIR        where to install; /opt/differseg
  --dry-run           say what would be done, and do nothing
  --yes               install missing apt packages without asking
  --software-only     leave out what needs TensorRT (in a container's build, on a PC)
  --jetpack NAME      the JetPack line to go by, such as 6.2, where L4T is not known here
  --key FILE          public key of who must have signed the bundle
  --bench-s N         seconds of the benchmark; 60
  --python FILE       the system's Python; /usr/bin/python3
  --root DIR          look for the board's files below DIR, for tests
  --uninstall         remove what this script installed
  -h, --help

What follows -- goes to 'differseg build', for example: -- --fp16 --level 4
Exit status: 0 done, 1 a check failed, 2 wrong input, 3 a component is missing.
END
}

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SOURCE=$(dirname "$HERE")
MODEL="" PREFIX="" ROOT="" JETPACK="" PYTHON=/usr/bin/python3 BENCH_S=60
DRY_RUN=no YES=no SOFTWARE_ONLY=no UNINSTALL=no
KEY=() BUILD_OPTIONS=()

# shellcheck source=lib/say.sh
source "$HERE/lib/say.sh"
# shellcheck source=lib/board.sh
source "$HERE/lib/board.sh"
# shellcheck source=lib/checks.sh
source "$HERE/lib/checks.sh"
# shellcheck source=lib/software.sh
source "$HERE/lib/software.sh"
# shellcheck source=lib/engine.sh
source "$HERE/lib/engine.sh"

# value OPTION [VALUE]: the value of an option that needs one.
value() {
    if (($# < 2)) || [[ -z $2 ]]; then fail 2 "$1: a value is missing (see --help)"; fi
    printf '%s' "$2"
}

read_arguments() {
    while (($#)); do
        case $1 in
            --prefix) PREFIX=$(value "$@") || exit 2; shift ;;
            --jetpack) JETPACK=$(value "$@") || exit 2; shift ;;
            --key) KEY=(--key "$(value "$@")") || exit 2; shift ;;
            --bench-s) BENCH_S=$(value "$@") || exit 2; shift ;;
            --python) PYTHON=$(value "$@") || exit 2; shift ;;
            --root) ROOT=$(value "$@") || exit 2; shift ;;
            --dry-run) DRY_RUN=yes ;;
            --yes) YES=yes ;;
            --software-only) SOFTWARE_ONLY=yes ;;
            --uninstall) UNINSTALL=yes ;;
            -h | --help) usage; exit 0 ;;
            --) shift; BUILD_OPTIONS=("$@"); break ;;
            -*) fail 2 "unknown option $1 (see --help)" ;;
            *)
                if [[ -n $MODEL ]]; then fail 2 "one model at a time: $MODEL and $1"; fi
                MODEL=$1
                ;;
        esac
        shift
    done
    if [[ ! $BENCH_S =~ ^[1-9][0-9]{0,4}$ ]]; then
        fail 2 "--bench-s: expected whole seconds from 1 to 99999, got $BENCH_S"
    fi
    ROOT=${ROOT%/}
    PREFIX=${PREFIX:-$ROOT/opt/differseg}
    if [[ $PREFIX != /* ]]; then PREFIX=$PWD/$PREFIX; fi
    PREFIX=${PREFIX%/}
    VENV=$PREFIX/venv REPORT=$PREFIX/report
    ONNX=$PREFIX/models/given/model.onnx
    ENGINE=$PREFIX/models/model.engine PLUGINS=$PREFIX/lib/libdifferseg_plugins.so
}

# One run at a time; the lock ends with the process, however it ends.
take_lock() {
    exec 9>> "$PREFIX/.lock"
    if ! flock --nonblock 9; then
        problem 2 "another run of this script is at work on $PREFIX (process $(< "$PREFIX/.lock")); wait for it, or end it"
        exit 2
    fi
    printf '%s' "$$" > "$PREFIX/.lock"
}

open_place() {
    mkdir -p "$PREFIX"
    : > "$PREFIX/.differseg"
    mkdir -p "$PREFIX"/{state,log,models,report}
    take_lock
    LOG=$PREFIX/log/install.log
    trap 'write_report $?' EXIT
    say "log: $LOG"
}

write_report() {
    printf '%s\n' "${FACTS[@]}" | "$PYTHON" "$HERE/lib/report.py" "$REPORT" "$1" >> "$LOG" 2>&1 ||
        say "warning: the report could not be written; see $LOG"
    if [[ -f $REPORT/report.txt ]]; then say "report: $REPORT/report.txt and report.json"; fi
}

uninstall() {
    local unit=$ROOT/etc/systemd/system/differseg.service
    if [[ ! -e $PREFIX/.differseg ]]; then
        fail 2 "$PREFIX: nothing of this script is installed there"
    elif [[ -e $unit && $DRY_RUN == no ]]; then
        fail 2 "the service is installed; remove it first: sudo $HERE/differseg-service uninstall"
    fi
    if [[ -s $PREFIX/state/apt-packages ]]; then
        say "apt packages stay; this script installed: $(sort -u "$PREFIX/state/apt-packages" | paste -sd' ')"
    fi
    if [[ $DRY_RUN == no ]]; then take_lock; fi
    run rm -rf "$PREFIX"/{venv,models,lib,state,log,report,.differseg,.lock}
    if [[ $DRY_RUN == no ]] && ! rmdir "$PREFIX" 2> /dev/null; then
        say "$PREFIX stays: it holds files that are not of this script"
    fi
    say "uninstalled: $PREFIX"
}

main() {
    read_arguments "$@"
    if [[ $UNINSTALL == yes ]]; then
        uninstall
        return
    fi
    detect_board
    detect_software
    detect_resources
    check_model
    check_board
    check_python
    check_tensorrt
    check_resources
    check_place
    say "board: ${MODEL_NAME:-$MACHINE}; L4T ${L4T:-none}; JetPack ${LINE:-none}; Python ${PYTHON_VERSION:-none}; TensorRT ${TENSORRT:-none}; OpenCV ${OPENCV:-none}"
    say "free: $DISK_MIB MiB on disk, $AVAILABLE_MIB of $MEMORY_MIB MiB of memory; swap $SWAP_MIB MiB; power mode ${POWER_MODE:-not known}"
    if [[ -n $SKIP_TENSORRT ]]; then
        say "decided: $SKIP_TENSORRT"
    elif [[ -n $TARGET ]]; then
        say "decided: the engine is built for $TARGET"
    fi
    check_apt
    if ((STATUS != 0)); then exit "$STATUS"; fi
    if [[ $DRY_RUN == no ]]; then open_place; fi
    trap 'on_signal 2' INT
    trap 'on_signal 15' TERM
    trap 'on_signal 1' HUP
    software_steps
    engine_steps
    if [[ $DRY_RUN == yes ]]; then
        say "nothing was changed (--dry-run)"
    elif [[ -n $MODEL ]]; then
        say "done; next: sudo $HERE/differseg-service install"
    else
        say "done; next: $HERE/install.sh F.onnx"
    fi
}

main "$@"
