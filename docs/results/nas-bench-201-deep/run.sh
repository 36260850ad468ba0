#!/usr/bin/env bash
# Makes the comparison again: run.sh OUT DATA [METHOD…], where DATA holds CIFAR-10's binary files. Goes on where it was interrupted. One
# thread a cell, as many cells at a time as there are cores; some ten hours on two for all, one and a half for the first. LEASE is the program.
# Learning rate and β while the architecture moves are those of the first epochs in nas-bench-201-full-size, whose schedules were of 20 epochs.
# Of the methods first-beta, random and random-search are recorded here.
set -euo pipefail
out=${1:?the folder for the comparison} data=${2:?the folder with the binary files of CIFAR-10}
shift 2
[ $# -gt 0 ] || set -- first-beta:method=darts-first,beta=1 first:method=darts-first,beta=0 darts-beta:method=darts,beta=1 \
    lease-beta:method=lease,beta=1 random random-search
"${LEASE:-lease}" compare "$@" \
    --seeds 8 --threads 1 --jobs "${JOBS:-0}" --out "$out" --dataset cifar10 --path "$data" --limit 11200 \
    --space nas-bench-201 --derive-none false --channels 16 --cells 5 --batch 64 --epochs 8 --warmup-epochs 5 \
    --architecture-learning-rate 0.02 --min-learning-rate 0.02 --audience-network resnet20 --audience-width 0.5 --epsilon 0.1 --attack-steps 3 --attack-step 0.5 \
    --reweighting magnitude --gamma-scale relative \
    --selection trained --selection-candidates 50 --selection-train-epochs 0 --random-draws 50 --random-epochs 0
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
