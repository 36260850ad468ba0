#!/usr/bin/env bash
# Makes the comparison again: run.sh OUT DATA, where DATA holds CIFAR-10's binary files. Goes on where it was interrupted. One thread a
# cell, as many cells at a time as there are cores. LEASE is the program.
set -euo pipefail
out=${1:?the folder for the comparison} data=${2:?the folder with the binary files of CIFAR-10}
"${LEASE:-lease}" compare darts darts-first lease-1:method=lease lease-shuffled:explanation=shuffled lease-0.3:gamma=0.3 \
    --seeds 4 --threads 1 --jobs "${JOBS:-0}" --out "$out" --dataset cifar10 --path "$data" --limit 12800 \
    --space nas-bench-201 --derive-none false --channels 8 --cells 1 --batch 32 --epochs 8 --warmup-epochs 4 \
    --architecture-learning-rate 0.02 --audience-network resnet20 --audience-width 0.5 --epsilon 0.1 \
    --attack-scale absolute --attack-steps 1 --attack-step 10000 --reweighting magnitude --gamma-scale relative
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
