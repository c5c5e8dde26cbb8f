# shellcheck shell=bash
# The runtime: packages, environment, differseg itself.  Sourced by install.sh.

# step NAME KEY PRODUCT COMMAND...: do it once for each KEY; what was not finished, or whose product
# is gone, is done again.
step() {
    local name=$1 key=$2 product=$3 stamp=$PREFIX/state/$1
    shift 3
    if [[ -f $stamp && -e $product && $(< "$stamp") == "$key" ]]; then
        say "$name: done before"
        fact "step $name" "done before"
        return 0
    fi
    say "$name ..."
    local begin=$SECONDS
    if [[ $DRY_RUN == no ]]; then rm -f "$stamp"; fi
    "$@"
    if [[ $DRY_RUN == no ]]; then
        printf '%s' "$key" > "$stamp.new"
        mv "$stamp.new" "$stamp"
    fi
    fact "step $name" "done in $((SECONDS - begin)) s"
}

# skip NAME REASON
skip() {
    say "$1: left out, $2"
    fact "step $1" "left out: $2"
}

# key_of TEXT...: short hash of texts and of the files among them.
key_of() {
    local each
    for each in "$@"; do
        if [[ -f $each ]]; then sha256sum < "$each"; else printf '%s\n' "$each"; fi
    done | sha256sum | cut -c1-32
}

# source_key: hash of what differseg is installed from.
source_key() {
    (cd "$SOURCE" && find "${PACKAGES[@]}" pyproject.toml -type f ! -name '*.pyc' -print0 |
        sort -z | xargs -0 sha256sum | sha256sum | cut -c1-32)
}

readonly PACKAGES=(differseg export runtime calibration)

apt_step() {
    if ((${#APT[@]} == 0)); then return; fi
    if [[ $DRY_RUN == no && $EUID != 0 && -z $ROOT ]]; then
        fail 3 "missing packages: ${APT[*]}; only root can install them: sudo apt install ${APT[*]}"
    fi
    say "apt: ${APT[*]} ..."
    run apt-get update || fail 3 "apt-get update failed: $(error_line); see $LOG"
    run env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${APT[@]}" ||
        fail 3 "apt could not install ${APT[*]}: $(error_line); see $LOG"
    if [[ $DRY_RUN == no ]]; then printf '%s\n' "${APT[@]}" >> "$PREFIX/state/apt-packages"; fi
    if [[ $DRY_RUN == yes ]]; then return; fi
    APT=()
    detect_software
    check_python
    check_tensorrt
    if ((${#APT[@]} != 0)); then
        fail 3 "apt has installed ${APT[*]}, and $PYTHON still does not find them; is it the system's Python?"
    elif ((STATUS != 0)); then
        exit "$STATUS"
    fi
}

# System packages are seen, so that the system's OpenCV with GStreamer and TensorRT are used.
make_environment() {
    run "$PYTHON" -m venv --clear --system-site-packages "$VENV" ||
        fail 3 "$VENV: the environment could not be made: $(error_line); see $LOG"
}

pip_install() {
    run "$VENV/bin/python" -I -m pip install --disable-pip-version-check --no-input \
        --ignore-installed --only-binary=:all: --constraint "$HERE/constraints.txt" "$@" ||
        fail 3 "pip could not install the packages: $(error_line); check the network (a mirror: PIP_INDEX_URL, without network: PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR) and run this again"
}

install_packages() {
    local lists=(--requirement "$HERE/requirements.txt")
    if [[ -z $SKIP_TENSORRT ]]; then lists+=(--requirement "$HERE/requirements-tensorrt.txt"); fi
    if [[ $OPENCV == absent || $OPENCV == broken* ]]; then
        say "OpenCV: the system has none that loads, opencv-python-headless is installed (no GStreamer)"
        lists+=(opencv-python-headless)
    fi
    say "pip: $(grep -hv '^#' "$HERE/requirements.txt" | paste -sd' ') setuptools wheel and what they need, at the versions of constraints.txt"
    pip_install "${lists[@]}" setuptools wheel
}

# From a copy, so that the build leaves nothing in the checkout.
install_differseg() {
    local copy=$PREFIX/state/source
    if [[ $DRY_RUN == no ]]; then
        rm -rf "$copy"
        mkdir -p "$copy"
        cp -R "${PACKAGES[@]/#/$SOURCE/}" "$SOURCE/pyproject.toml" "$SOURCE/README.md" "$SOURCE/LICENSE" "$copy/"
    fi
    run "$VENV/bin/python" -I -m pip install --disable-pip-version-check --no-input --no-deps \
        --no-build-isolation --force-reinstall "$copy" ||
        fail 3 "differseg could not be installed: $(error_line); see $LOG"
    if [[ $DRY_RUN == no ]]; then rm -rf "$copy"; fi
}

check_runtime() {
    run "$VENV/bin/python" -I -c "import cv2, onnxruntime, differseg.runtime.run_camera" ||
        fail 3 "the runtime does not load: $(error_line); see $LOG"
    if [[ -z $SKIP_TENSORRT ]]; then
        run "$VENV/bin/python" -I -c "import tensorrt, differseg.runtime.backends.tensorrt" ||
            fail 3 "TensorRT does not load in the environment: $(error_line); see $LOG"
    fi
}

software_steps() {
    local environment packages
    apt_step
    environment=$(key_of "$PYTHON_VERSION" "$VENV")
    packages=$(key_of "$environment" "$HERE/constraints.txt" "$HERE/requirements.txt" \
        "$HERE/requirements-tensorrt.txt" "${SKIP_TENSORRT:+software}" "$OPENCV")
    step environment "$environment" "$VENV/bin/python" make_environment
    step packages "$packages" "$VENV/bin/python" install_packages
    step differseg "$(key_of "$packages" "$(source_key)")" "$VENV/bin/differseg" install_differseg
    check_runtime
}
