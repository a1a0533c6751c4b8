#!/usr/bin/env bash
# What is run first where a GPU is at hand: the cost of merges, and a short study of SmolLM2-135M.
#
#   OUT=FOLDER GGUF=SmolLM2-135M-Instruct.Q4_1.gguf studies/gpu.sh
#
# In the repository's root, with ../shared beside it and mixopt[train] installed in PYTHON. It ends within
# 15 minutes, whatever is done by then. The study is left out without GGUF (see studies/smollm/smollm.py).
# DEVICE=cpu, TOKENS and ITEMS make it small, to try the script itself.
set -euo pipefail
: "${OUT:?is the folder for all results}"
PYTHON=${PYTHON:-python} DEVICE=${DEVICE:-cuda} TOKENS=${TOKENS:-40960} ITEMS=${ITEMS:-16}

if [ -z "${BOUNDED:-}" ]; then
    BOUNDED=1 exec timeout 900 bash "$0"
fi

mkdir -p "$OUT"
if [ "$DEVICE" = cuda ]; then
    nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv | tee "$OUT/card.txt"
fi

# A failure or its limit of 5 minutes does not keep the study from its turn.
timeout 300 "$PYTHON" studies/merge-throughput/engine.py --shared ../shared --device "$DEVICE" \
    --out "$OUT/merge-throughput" overhead memory 2>&1 | tee "$OUT/merge-throughput.txt" ||
    echo "merge-throughput did not end; what it printed is in $OUT/merge-throughput.txt"

if [ -z "${GGUF:-}" ]; then
    echo "smollm: left out, no GGUF"
    exit
fi
"$PYTHON" studies/smollm/smollm.py --gguf "$GGUF" --out "$OUT/smollm" --tokens "$TOKENS" \
    --items "$ITEMS" --rate 2e-4 --batch 2048 --runs 5 --confirmation 0
MIXOPT_CACHE="$OUT/cache" "$PYTHON" -m mixopt run "$OUT/smollm/code.yaml" -o "$OUT/smollm/results" \
    --device "$DEVICE" 2>&1 | tee "$OUT/smollm.txt"
