#!/usr/bin/env bash
# Makes the short searches again: run.sh OUT DATA, where DATA holds CIFAR-10's binary files. Ten minutes of one core. LEASE is the program.
set -euo pipefail
out=${1:?the folder for the searches} data=${2:?the folder with the binary files of CIFAR-10}
mkdir -p "$out"
search() { # NAME SETTINGS…
    local run=$out/$1
    shift
    [ ! -d "$run" ] || return 0
    "${LEASE:-lease}" search --quiet --dataset cifar10 --path "$data" --limit 3200 --space nas-bench-201 --derive-none false --channels 4 \
        --cells 1 --batch 32 --epochs 3 --warmup-epochs 1 --architecture-learning-rate 0.03 --audience-width 0.5 --norms-every 2 \
        --report false --threads 1 --out "$run" "$@"
}
for steps in "1 0.5" "1 1" "1 1.5" "1 2" "1 4" "3 0.25" "3 0.5" "3 1" "10 0.25"; do
    search "steps-${steps/ /x}" --attack-steps "${steps% *}" --attack-step "${steps#* }"
done
for epsilon in 0.01 0.03 0.3; do
    search "epsilon-$epsilon" --epsilon "$epsilon"
done
search epsilon-8-255-range --epsilon 8/255 --epsilon-unit range
search magnitude --reweighting magnitude
search magnitude-epsilon-0.3 --reweighting magnitude --epsilon 0.3
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
