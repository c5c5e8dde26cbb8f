# shellcheck shell=bash
# Which board this is, and what is on it.  Looks below $ROOT.  Sourced by install.sh.

MACHINE="" MODEL_NAME="" SOC="" SM="" L4T="" LINE="" LINE_TARGET="" LINE_TENSORRT=""
LINE_PYTHON="" LINE_RUNTIME="" LINE_PLUGINS="" PYTHON_VERSION="" TENSORRT="" OPENCV="" GSTREAMER=""
VENV_MODULE="" HEADERS="" NVCC="" TRTEXEC="" MEMORY_MIB=0 AVAILABLE_MIB=0 SWAP_MIB=0 DISK_MIB=0
POWER_MODE="" POWER_BEST=""

# read_text FILE: its text without NUL bytes, empty where there is none.
read_text() {
    if [[ -r $ROOT$1 ]]; then tr '\0' ' ' < "$ROOT$1" | sed 's/ *$//'; fi
}

detect_board() {
    MACHINE=$(uname -m)
    MODEL_NAME=$(read_text /proc/device-tree/model)
    case "$(read_text /proc/device-tree/compatible)" in
        *tegra234*) SOC=tegra234 SM=8.7 ;;
        *tegra264*) SOC=tegra264 SM=11.0 ;;
        *tegra194*) SOC=tegra194 SM=7.2 ;;
    esac
    local release package
    release=$(read_text /etc/nv_tegra_release | head -n 1)
    if [[ $release =~ R([0-9]+)\ \(release\),\ REVISION:\ ([0-9.]+) ]]; then
        L4T="${BASH_REMATCH[1]}.${BASH_REMATCH[2]}"
    fi
    # shellcheck disable=SC2016  # dpkg's own format
    package=$(dpkg-query --show --showformat='${Version}' nvidia-l4t-core 2> /dev/null || true)
    package=${package%%-*}
    if [[ -z $L4T ]]; then
        L4T=$package
    elif [[ -n $package && $package != "$L4T" ]]; then
        warn "/etc/nv_tegra_release says L4T $L4T, the package nvidia-l4t-core $package: an upgrade was not finished; restart the board"
    fi
    fact machine "$MACHINE"
    fact board "${MODEL_NAME:-unknown}"
    fact soc "${SOC:-unknown}"
    fact l4t "${L4T:-none}"
}

# take_line NAME L4T PYTHON CUDA TENSORRT TARGET RUNTIME PLUGINS
take_line() {
    LINE=$1 LINE_PYTHON=$3 LINE_TENSORRT=$5 LINE_TARGET=$6 LINE_RUNTIME=$7 LINE_PLUGINS=$8
}

# find_line: the JetPack line of $L4T, or of --jetpack; LINE stays empty where there is none.
find_line() {
    local -a fields newest=()
    local major=${L4T%%.*} release last
    release=$(cut -d. -f1,2 <<< "$L4T")
    while IFS=$'\t' read -r -a fields; do
        if [[ ${fields[0]} == \#* ]]; then continue; fi
        if [[ -n $JETPACK ]]; then
            case ", ${fields[0]% and later}, " in *", $JETPACK, "*) take_line "${fields[@]}" ;; esac
        elif [[ ,${fields[1]}, == *,"$release",* ]]; then
            take_line "${fields[@]}"
        elif [[ ,${fields[1]} == *,"$major".* ]]; then
            newest=("${fields[@]}")
        fi
    done < "$HERE/jetpacks.tsv"
    if [[ -n $LINE || ${#newest[@]} == 0 ]]; then return; fi
    last=${newest[1]##*,}
    if [[ $(printf '%s\n%s\n' "$last" "$L4T" | sort -V | tail -n 1) == "$L4T" ]]; then
        take_line "${newest[@]}"
        warn "L4T $L4T is newer than what is known here; it is treated as JetPack $LINE"
    fi
}

detect_software() {
    local key value
    while IFS='=' read -r key value; do
        case $key in
            python) PYTHON_VERSION=$value ;;
            venv) VENV_MODULE=$value ;;
            tensorrt) TENSORRT=$value ;;
            opencv) OPENCV=$value ;;
            gstreamer) GSTREAMER=$value ;;
        esac
    done < <("$PYTHON" "$HERE/lib/probe.py" 2> /dev/null || true)
    local folder
    for folder in "$ROOT"/usr/include/*-linux-gnu "$ROOT"/usr/include; do
        if [[ -r $folder/NvInferVersion.h ]]; then
            HEADERS=$(sed -nE 's/#define (NV_TENSORRT|TRT)_(MAJOR|MINOR)(_ENTERPRISE)? +([0-9]+).*/\4/p' \
                "$folder/NvInferVersion.h" | head -n 2 | paste -sd.)
            break
        fi
    done
    NVCC=$(command -v nvcc || true)
    if [[ -z $NVCC && -x $ROOT/usr/local/cuda/bin/nvcc ]]; then NVCC=$ROOT/usr/local/cuda/bin/nvcc; fi
    TRTEXEC=$(command -v trtexec || true)
    if [[ -z $TRTEXEC && -x $ROOT/usr/src/tensorrt/bin/trtexec ]]; then
        TRTEXEC=$ROOT/usr/src/tensorrt/bin/trtexec
    fi
    fact python "${PYTHON_VERSION:-absent}"
    fact tensorrt "${TENSORRT:-absent}"
    fact tensorrt_headers "${HEADERS:-absent}"
    fact trtexec "${TRTEXEC:-absent}"
    fact nvcc "${NVCC:-absent}"
    fact opencv "${OPENCV:-absent}"
    fact gstreamer "${GSTREAMER:-no}"
}

# memory NAME: MiB of a line of /proc/meminfo.
memory() {
    local kib
    kib=$(sed -nE "s/^$1: *([0-9]+) kB.*/\1/p" "$ROOT/proc/meminfo" 2> /dev/null || true)
    printf '%s' $((${kib:-0} / 1024))
}

detect_resources() {
    MEMORY_MIB=$(memory MemTotal) AVAILABLE_MIB=$(memory MemAvailable) SWAP_MIB=$(memory SwapTotal)
    local folder=$PREFIX
    while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
    DISK_MIB=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1024) }')
    if command -v nvpmodel > /dev/null; then
        POWER_MODE=$(nvpmodel -q 2> /dev/null | sed -nE 's/^NV Power Mode: *(.+)$/\1/p' | head -n 1)
        # The fastest mode is a MAXN; its number differs between boards.
        POWER_BEST=$(sed -nE 's/^< *POWER_MODEL +ID=([0-9]+) +NAME=(MAXN[A-Z_]*) *>.*/\1 \2/p' \
            "$ROOT/etc/nvpmodel.conf" 2> /dev/null | sort -k2 | tail -n 1 || true)
    fi
    fact memory_mib "$MEMORY_MIB"
    fact memory_available_mib "$AVAILABLE_MIB"
    fact swap_mib "$SWAP_MIB"
    fact disk_free_mib "$DISK_MIB"
    fact power_mode "${POWER_MODE:-unknown}"
}
