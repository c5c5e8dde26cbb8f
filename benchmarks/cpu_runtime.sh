#!/usr/bin/env bash
# The figures of docs/benchmarks.md: the runtime from camera frames to the mask, the bare ONNX
# Runtime session and PyTorch eager, in turn, on an otherwise idle machine.
#   benchmarks/cpu_runtime.sh [THREADS]
set -euo pipefail
cd "$(dirname "$0")/.."
threads="${1:-2}"
out="$(mktemp -d)"
trap 'rm -rf "$out"' EXIT
python export/to_onnx.py --model differseg-edge --no-real -o "$out/differseg-edge.onnx"
differseg bench "$out/differseg-edge.onnx" --vs session,torch --threads "$threads" \
    --markdown "$out/table.md"
cat "$out/table.md"
