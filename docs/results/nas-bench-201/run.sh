#!/usr/bin/env bash
# Makes the comparison again: run.sh OUT DATA, where DATA holds CIFAR-10's binary files. Goes on where it was interrupted. One thread a
# cell, as many cells at a time as there are cores. LEASE is the program.
set -euo pipefail
out=${1:?the folder for the comparison} data=${2:?the folder with the binary files of CIFAR-10}
"${LEASE:-lease}" compare darts-first darts lease-1:method=lease lease-0.3:gamma=0.3 lease-signed:reweighting=signed \
    lease-3:gamma=3 lease-shuffled:explanation=shuffled lease-fd:hypergradient=finite-difference random \
    random-search:random-draws=12,random-epochs=5 \
    --seeds 4 --threads 1 --jobs "${JOBS:-0}" --out "$out" --dataset cifar10 --path "$data" --limit 8000 \
    --space nas-bench-201 --derive-none false --channels 8 --cells 1 --batch 32 --epochs 4 --warmup-epochs 2 \
    --architecture-learning-rate 0.03 --audience-network resnet20 --audience-width 0.5 --epsilon 0.1 \
    --attack-scale absolute --attack-steps 1 --attack-step 10000 --reweighting magnitude --gamma-scale relative
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
