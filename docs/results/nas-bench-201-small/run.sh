#!/usr/bin/env bash
# Makes the comparison again: run.sh OUT DATA [METHOD…], where DATA holds CIFAR-10's binary files. Goes on where it was interrupted. One
# thread a cell, as many cells at a time as there are cores; an hour and a half on two. LEASE is the program. But for the methods all settings
# are those of nas-bench-201-paired, whose seeds 0 to 7 of darts and lease are darts-beta and lease-beta here.
set -euo pipefail
out=${1:?the folder for the comparison} data=${2:?the folder with the binary files of CIFAR-10}
shift 2
[ $# -gt 0 ] || set -- first:method=darts-first,beta=0 first-beta:method=darts-first darts:beta=0 darts-beta:method=darts \
    lease:beta=0 lease-beta:method=lease random random-search
"${LEASE:-lease}" compare "$@" \
    --seeds 8 --threads 1 --jobs "${JOBS:-0}" --out "$out" --dataset cifar10 --path "$data" --limit 8000 \
    --space nas-bench-201 --derive-none false --channels 8 --cells 1 --batch 32 --epochs 4 --warmup-epochs 2 \
    --architecture-learning-rate 0.03 --audience-network resnet20 --audience-width 0.5 --epsilon 0.1 --attack-steps 1 --attack-step 1 \
    --reweighting magnitude --gamma-scale relative --beta 5 \
    --random-draws 10 --random-epochs 0
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
python3 "$(dirname "$0")/../nas-bench-201-paired/pairs.py" "$out" first-beta,first darts-beta,darts lease-beta,lease \
    darts,first lease,first lease,darts darts-beta,first-beta lease-beta,first-beta lease-beta,darts-beta > "$out/pairs.txt"
