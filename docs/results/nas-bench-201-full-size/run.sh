#!/usr/bin/env bash
# Makes the searches again on a GPU: run.sh OUT DATA, where DATA holds CIFAR-10's binary files. LEASE is a program built with --features gpu.
# Side by side they take some five minutes on an H200.
set -euo pipefail
out=${1:?the folder for the searches} data=${2:?the folder with the binary files of CIFAR-10}
mkdir -p "$out"
search() { # NAME SETTINGS…
    local run=$out/$1
    shift
    "${LEASE:-lease}" search --device "${DEVICE:-gpu}" --method darts-first --space nas-bench-201 --derive-none false --dataset cifar10 \
        --path "$data" --limit 11200 --batch 64 --channels 16 --cells 5 --architecture-learning-rate 0.02 --epochs 20 --warmup-epochs 5 \
        --out "$run" "$@" >"$run.log" 2>&1 &
}
search b5-0 --beta 5 --seed 0
search b5-1 --beta 5 --seed 1
search b15-0 --beta 15 --seed 0
wait
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
