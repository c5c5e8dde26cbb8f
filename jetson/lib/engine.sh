# shellcheck shell=bash
# The model on this board: plugin library, engine, parity, benchmark.  Sourced by install.sh.

FORM="" INPUTS=""

# differseg VERB...
differseg() {
    run "$VENV/bin/differseg" "$@"
}

place_model() {
    local new=$PREFIX/models/new
    if [[ $DRY_RUN == no ]]; then rm -rf "$new"; fi
    if [[ $MODEL == *.dsb ]]; then
        differseg bundle unpack "$MODEL" -o "$new" "${KEY[@]}" ||
            fail 2 "$MODEL: $(error_line)"
    elif [[ $DRY_RUN == no ]]; then
        mkdir -p "$new"
        cp "$MODEL" "$new/model.onnx"
    fi
    if [[ $DRY_RUN == yes ]]; then return; fi
    if [[ ! -f $new/model.onnx ]]; then fail 2 "$MODEL: there is no model.onnx in this bundle"; fi
    rm -rf "$PREFIX/models/given"
    mv "$new" "$PREFIX/models/given"
}

# read_model: operator form and modalities, from the manifest in the file.
read_model() {
    if [[ $DRY_RUN == yes ]]; then return; fi
    local text
    text=$("$VENV/bin/python" -I "$HERE/lib/model_facts.py" "$ONNX" 2>> "$LOG") ||
        fail 2 "$MODEL: $(last_line)"
    FORM=$(sed -n 's/^form=//p' <<< "$text")
    INPUTS=$(sed -n 's/^inputs=//p' <<< "$text")
    fact model "$(sed -n 's/^model=//p' <<< "$text")"
    fact model_precision "$(sed -n 's/^precision=//p' <<< "$text")"
    fact model_form "$FORM"
}

build_plugins() {
    if [[ $DRY_RUN == no ]]; then mkdir -p "$PREFIX/lib"; fi
    run "$VENV/bin/python" -I -m differseg.export.plugin_library -o "$PLUGINS" --arch "${SM/./}" \
        ${ROOT:+--tensorrt-root "$ROOT/usr"} ||
        fail 3 "the plugin library could not be built: $(error_line); see $LOG"
}

build_engine() {
    local options=(--target "$TARGET" --no-cache)
    if ((MEMORY_MIB < LITTLE_MEMORY_MIB)); then options+=(--workspace-mib 1024); fi
    if [[ $FORM == plugin ]]; then options+=(--plugin "$PLUGINS"); fi
    differseg build "$ONNX" -o "$ENGINE" "${options[@]}" "${BUILD_OPTIONS[@]}" ||
        fail $? "the engine could not be built: $(error_line); see $LOG"
}

compare() {
    differseg parity "$ONNX" "$ENGINE" --limit 8 --report "$REPORT/parity.html" --json || {
        local status=$?
        if ((status == 1)); then last_line > "$REPORT/parity.json"; fact "step parity" "failed"; fi
        fail "$status" "parity of the engine with its file: $(parity_line); see $LOG and $REPORT/parity.html"
    }
    if [[ $DRY_RUN == no ]]; then last_line > "$REPORT/parity.json"; fi
}

# parity_line: the verdict, which stands before the JSON document; else the error.
parity_line() {
    local found
    found=$(tail -n 200 "$LOG" | grep -E '^(failed|error)' | tail -n 1)
    printf '%s' "${found:-$(last_line)}"
}

measure() {
    local file=$1 sources=(--rgb synthetic:)
    # A machine that is too slow for the pair is measured all the same.
    if [[ " $INPUTS " == *" thermal "* ]]; then
        sources+=(--thermal synthetic: --on-thermal-loss hold)
    fi
    differseg run --model "$file" "${sources[@]}" --seconds "$BENCH_S" --headless --json ||
        fail $? "the benchmark broke off: $(error_line); see $LOG"
    if [[ $DRY_RUN == no ]]; then last_line > "$REPORT/benchmark.json"; fi
}

# measure_step FILE KEY
measure_step() {
    local modality
    for modality in $INPUTS; do
        if [[ $modality != rgb && $modality != thermal ]]; then
            skip benchmark "the model takes $modality, which no camera here gives"
            return
        fi
    done
    step benchmark "$(key_of "$2" "$BENCH_S" "$POWER_MODE")" "$REPORT/benchmark.json" \
        measure "$1"
}

engine_steps() {
    local installed plugins model engine
    installed=$(cat "$PREFIX/state/differseg" 2> /dev/null || true)
    plugins=$(key_of "$installed" "$TENSORRT" "$HEADERS" "$SM")
    if [[ -n $MODEL ]]; then
        model=$(key_of "$MODEL" "${KEY[*]}")
        step model "$model" "$ONNX" place_model
        read_model
    fi
    if [[ -n $SKIP_TENSORRT ]]; then
        skip plugins "$SKIP_TENSORRT"
    elif [[ $LINE_PLUGINS == yes && -n $SM ]]; then
        step plugins "$plugins" "$PLUGINS" build_plugins
    elif [[ $FORM == plugin ]]; then
        fail 3 "$MODEL: its operators need the plugin library, which cannot be built here (see the warnings above); export it again with --ops portable"
    else
        skip plugins "not possible here, and not needed by standard operators"
    fi
    if [[ -z $MODEL ]]; then
        skip engine "no model was given: jetson/install.sh F.onnx"
        return
    fi
    if [[ -n $SKIP_TENSORRT ]]; then
        skip engine "$SKIP_TENSORRT"
        skip parity "there is no engine to compare"
        measure_step "$ONNX" "$model"
        return
    fi
    engine=$(key_of "$model" "$plugins" "$TARGET" "${BUILD_OPTIONS[*]}")
    step engine "$engine" "$ENGINE" build_engine
    step parity "$engine" "$REPORT/parity.json" compare
    measure_step "$ENGINE" "$engine"
}
