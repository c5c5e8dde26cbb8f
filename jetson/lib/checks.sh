# shellcheck shell=bash
# Whether this board will do, and what is to be done where it will not.  Sourced by install.sh.

TARGET=""         # what the engine is built for
APT=()            # packages to install
SKIP_TENSORRT=""  # why the parts with TensorRT are left out

readonly LEAST_DISK_MIB=3072
readonly LEAST_MEMORY_MIB=2048
readonly LITTLE_MEMORY_MIB=8704

check_board() {
    if [[ $SOFTWARE_ONLY == yes ]]; then
        SKIP_TENSORRT="--software-only: no plugin library, engine or parity; ONNX Runtime runs the model on the processor"
    fi
    if [[ -z $L4T && -z $JETPACK ]]; then
        if [[ $SOFTWARE_ONLY == yes ]]; then return; fi
        problem 2 "this is no Jetson: $MACHINE, and there is no L4T (/etc/nv_tegra_release); on a PC use pip install -e '.[runtime]', or add --software-only to install the runtime without TensorRT"
        return
    fi
    find_line
    if [[ -z $LINE && -n $JETPACK ]]; then
        problem 2 "--jetpack $JETPACK: there is no such line here; known: $(grep -v '^#' "$HERE/jetpacks.tsv" | cut -f1 | paste -sd';' | sed 's/;/; /g')"
    elif [[ -z $LINE ]]; then
        if [[ $SOFTWARE_ONLY == yes ]]; then return; fi
        problem 3 "L4T $L4T is none of the JetPacks known here (5.1 to 7.2); flash one of them, or name the one it is like: --jetpack 7.2"
    elif [[ $LINE_RUNTIME == no ]]; then
        problem 3 "JetPack $LINE (L4T $L4T) has Python $LINE_PYTHON and TensorRT $LINE_TENSORRT, the runtime needs Python 3.10; flash JetPack 6.2, or build the engine with the line that 'differseg build F.onnx --print-trtexec --target $LINE_TARGET' prints on a workstation"
    fi
    fact jetpack "${LINE:-unknown}"
}

check_python() {
    # No board, no advice about its packages.
    if [[ -z $LINE && $SOFTWARE_ONLY == no ]]; then return; fi
    if [[ -z $PYTHON_VERSION ]]; then
        problem 3 "$PYTHON: there is no Python that runs; install it: sudo apt install python3 python3-venv"
        return
    fi
    if [[ ! $PYTHON_VERSION =~ ^3\.1[0-2]\. ]]; then
        # A JetPack with another Python has been named already.
        if [[ $LINE_RUNTIME != no ]]; then
            problem 3 "$PYTHON is Python $PYTHON_VERSION, expected 3.10 to 3.12; give the system's one with --python /usr/bin/python3"
        fi
        return
    fi
    if [[ $VENV_MODULE != yes ]]; then APT+=(python3-venv); fi
    case $OPENCV in
        absent) if [[ $SOFTWARE_ONLY == no ]]; then APT+=(python3-opencv); fi ;;
        broken*) warn "the system's OpenCV does not load (${OPENCV#broken: }); opencv-python-headless is installed instead, without GStreamer" ;;
        *) if [[ $GSTREAMER != yes ]]; then
            warn "OpenCV $OPENCV has no GStreamer: csi:, nvv4l2: and nvdec: cameras do not open, V4L2 and RTSP do; remove it and install the system's: sudo apt install python3-opencv"
        fi ;;
    esac
}

check_tensorrt() {
    if [[ -n $SKIP_TENSORRT || -z $LINE || $LINE_RUNTIME == no ]]; then return; fi
    case $TENSORRT in
        absent) APT+=(nvidia-tensorrt-dev python3-libnvinfer) TARGET=$LINE_TARGET ;;
        broken*) problem 3 "TensorRT's Python module does not load (${TENSORRT#broken: }); install it again: sudo apt install --reinstall python3-libnvinfer" ;;
        *)
            local found
            found=$(cut -d. -f1,2 <<< "$TENSORRT")
            TARGET=$LINE_TARGET
            if [[ $found != "$LINE_TENSORRT" ]]; then
                TARGET=trt$found
                warn "TensorRT $TENSORRT is installed, JetPack $LINE comes with $LINE_TENSORRT; the engine is built for what is installed (target $TARGET)"
            fi
            if [[ -n $HEADERS && $HEADERS != "$found" ]]; then
                warn "the headers of TensorRT are $HEADERS and its library is $found: no plugin library is built; install both from one place: sudo apt install nvidia-tensorrt-dev"
                LINE_PLUGINS=no
            fi
            ;;
    esac
    if [[ $LINE_PLUGINS == yes && $TENSORRT != absent && ( -z $NVCC || -z $HEADERS ) ]]; then
        local missing=() packages=()
        if [[ -z $NVCC ]]; then missing+=(nvcc) packages+=(nvidia-cuda-dev); fi
        if [[ -z $HEADERS ]]; then missing+=("TensorRT's headers") packages+=(nvidia-tensorrt-dev); fi
        warn "the plugin library is not built, missing: ${missing[*]}; only models exported with --ops plugin need it: sudo apt install ${packages[*]}"
        LINE_PLUGINS=no
    fi
    fact target "$TARGET"
}

check_resources() {
    if ((DISK_MIB < LEAST_DISK_MIB)); then
        problem 3 "$PREFIX: $DISK_MIB MiB are free, expected $LEAST_DISK_MIB; make room (sudo apt clean), or give a folder on another disk with --prefix"
    fi
    if ((AVAILABLE_MIB + SWAP_MIB < LEAST_MEMORY_MIB)); then
        problem 3 "$AVAILABLE_MIB MiB of memory are free and there are $SWAP_MIB MiB of swap, expected $LEAST_MEMORY_MIB together; end other programs (the desktop: sudo systemctl isolate multi-user.target)"
    fi
    if [[ -z $SKIP_TENSORRT ]] && ((MEMORY_MIB < LITTLE_MEMORY_MIB && SWAP_MIB == 0)); then
        warn "$MEMORY_MIB MiB of memory and no swap: the engine's builder may be killed; add swap: sudo fallocate -l 4G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
    fi
    if [[ -n $POWER_MODE && $POWER_MODE != MAXN* && -z $SKIP_TENSORRT ]]; then
        if [[ -n $POWER_BEST ]]; then
            warn "the power mode is $POWER_MODE, and the benchmark measures that; the fastest is ${POWER_BEST#* }: sudo nvpmodel -m ${POWER_BEST%% *}"
        else
            warn "the power mode is $POWER_MODE, and the benchmark measures that; 'sudo nvpmodel -p --verbose' lists the others"
        fi
    fi
}

check_model() {
    if [[ -z $MODEL ]]; then return; fi
    if [[ ! -f $MODEL ]]; then
        problem 2 "$MODEL: there is no such file; give an .onnx file of differseg export, or a bundle (.dsb)"
    elif [[ $MODEL != *.onnx && $MODEL != *.dsb ]]; then
        problem 2 "$MODEL: expected an .onnx file or a bundle (.dsb); engines are built here, on the board"
    fi
}

check_place() {
    local folder=$PREFIX
    if [[ -d $PREFIX && ! -e $PREFIX/.differseg && -n $(ls -A "$PREFIX" 2> /dev/null) ]]; then
        problem 2 "$PREFIX: the folder holds other files; give an empty or a new one with --prefix"
    fi
    while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
    if [[ ! -w $folder && $DRY_RUN == no ]]; then
        problem 2 "$PREFIX: no permission to write there; run this with sudo, or give a folder of yours with --prefix"
    fi
    if ! command -v flock > /dev/null; then
        problem 3 "flock is not installed; install it: sudo apt install util-linux"
    fi
}

# check_apt: packages are named before anything is fetched, and asked for.
check_apt() {
    if ((${#APT[@]} == 0)); then return; fi
    say "apt packages that are missing: ${APT[*]}"
    if [[ $DRY_RUN == yes || $YES == yes ]]; then return; fi
    if [[ ! -t 0 ]]; then
        problem 3 "missing packages: ${APT[*]}; install them: sudo apt install ${APT[*]}, or add --yes"
        return
    fi
    local answer
    read -r -p "install them now with apt? [y/N] " answer
    if [[ $answer != [yY]* ]]; then
        problem 3 "missing packages: ${APT[*]}; install them: sudo apt install ${APT[*]}"
    fi
}
