#!/usr/bin/env bash
# Makes the comparison again: run.sh OUT DATA, where DATA holds CIFAR-10's binary files. Goes on where it was interrupted. One thread a
# cell, as many cells at a time as there are cores; three hours on two. LEASE is the program.
set -euo pipefail
out=${1:?the folder for the comparison} data=${2:?the folder with the binary files of CIFAR-10}
methods=(darts lease lease-shuffled:method=lease,explanation=shuffled)
# An attack that explains something on CIFAR-10; its seeds are the first twelve.
three_steps=lease-three-steps:method=lease,attack-steps=3,attack-step=0.5
compare() {
    "${LEASE:-lease}" compare "$@" --threads 1 --out "$out" --dataset cifar10 --path "$data" --limit 8000 \
        --space nas-bench-201 --derive-none false --channels 8 --cells 1 --batch 32 --epochs 4 --warmup-epochs 2 \
        --architecture-learning-rate 0.03 --audience-network resnet20 --audience-width 0.5 --epsilon 0.1 --attack-steps 1 --attack-step 1 \
        --reweighting magnitude --gamma-scale relative --beta 5
}
compare "${methods[@]}" --seeds 24 --jobs "${JOBS:-0}"
compare "${methods[@]}" "$three_steps" --seeds 12 --jobs "${JOBS:-0}"
for method in lease lease-three-steps; do
    compare "${methods[@]}" "$three_steps" --seeds 12 --collect --against "$method" | sed '/^Folder/,$d' > "$out/against-$method.md"
done
compare "${methods[@]}" "$three_steps" --seeds 12 --collect
python3 "$(dirname "$0")/pairs.py" "$out" > "$out/pairs.txt"
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
