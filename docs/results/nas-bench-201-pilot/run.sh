#!/usr/bin/env bash
# Makes the searches again: run.sh OUT DATA, where DATA holds CIFAR-10's binary files. One after the other, each to its last epoch.
# LEASE is the program.
set -euo pipefail
out=${1:?the folder for the searches} data=${2:?the folder with the binary files of CIFAR-10}
mkdir -p "$out"
search() { # NAME SEED SETTINGS…
    local run=$out/$1-$2 seed=$2
    shift 2
    if [ -d "$run" ]; then
        [ -f "$run/genotype.json" ] || "${LEASE:-lease}" search --resume "$run"
        return
    fi
    "${LEASE:-lease}" search --method darts-first --space nas-bench-201 --derive-none false --dataset cifar10 --path "$data" \
        --limit 12800 --batch 64 --threads 1 --architecture-learning-rate 0.02 --seed "$seed" --out "$run" "$@"
}
for seed in 0 1; do
    search c16 "$seed" --channels 16 --cells 1 --epochs 6 --warmup-epochs 3 --beta 5
    search c8long "$seed" --channels 8 --cells 1 --epochs 16 --warmup-epochs 6 --beta 5
    for recipe in b0: b5:"--beta 5" b15:"--beta 15" dir:"--sampler dirichlet" sdarts:"--perturb random --beta 5"; do
        # shellcheck disable=SC2086
        search "c3-${recipe%%:*}" "$seed" --channels 8 --cells 3 --epochs 6 --warmup-epochs 3 ${recipe#*:}
    done
done
search c5-b2 0 --channels 8 --cells 5 --epochs 10 --warmup-epochs 3 --beta 2
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
