#!/usr/bin/env bash
# The figures of docs/benchmarks.md: bare engine, runtime and camera run of the edge network, beside
# PyTorch eager and OpenVINO where it is installed, in turn, on an otherwise idle machine.
#   benchmarks/cpu_runtime.sh [THREADS]
set -euo pipefail
cd "$(dirname "$0")/.."
threads="${1:-2}"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
python export/to_onnx.py --model differseg-edge --no-real -o "$out/differseg-edge.onnx"
peers=session,torch
if python -c 'import openvino' 2> /dev/null; then peers+=,openvino,openvino:bf16; fi
differseg bench "$out/differseg-edge.onnx" --backend onnxruntime --vs "$peers" \
    --threads "$threads" --markdown "$out/table.md"
cat "$out/table.md"
