#!/usr/bin/env bash
# Makes the short searches again: run.sh OUT SET [DATA], where SET is digits, cifar10 or photos, and DATA the folder with CIFAR-10's
# binary files, or that of the photographs' pieces (scripts/photo_pieces.py). A quarter of an hour of one core each. LEASE is the
# program.
set -euo pipefail
out=${1:?the folder for the searches} set=${2:?digits, cifar10 or photos} data=${3:-}
out=$out/$set
mkdir -p "$out"
case $set in
cifar10) settings=(--path "$data" --limit 3200 --space nas-bench-201 --derive-none false --channels 4 --cells 1 --batch 32 --epochs 3
    --warmup-epochs 1 --architecture-learning-rate 0.03 --audience-width 0.5) ;;
photos) settings=(--path "$data" --image-size 96 --channels 4 --cells 3 --nodes 3 --batch 16 --audience-width 0.5 --epochs 6
    --warmup-epochs 2) ;;
digits) settings=() ;;
*) echo "$set is none of digits, cifar10 and photos" >&2; exit 2 ;;
esac
dataset=$set
[ "$set" != photos ] || dataset=folder
search() { # NAME SETTINGS…
    local run=$out/$1
    shift
    [ ! -d "$run" ] || return 0
    "${LEASE:-lease}" search --quiet --dataset "$dataset" "${settings[@]}" --norms-every 2 --report false --threads 1 --out "$run" "$@"
}
for steps in "1 0.5" "1 1" "1 1.5" "1 2" "1 4" "3 0.25" "3 0.5" "3 1" "10 0.25"; do
    search "steps-${steps/ /x}" --attack-steps "${steps% *}" --attack-step "${steps#* }"
done
for epsilon in 0.01 0.03 0.1 0.3; do
    search "epsilon-$epsilon" --epsilon "$epsilon"
done
search epsilon-8-255-range --epsilon 8/255 --epsilon-unit range
search magnitude --reweighting magnitude
search magnitude-epsilon-0.3 --reweighting magnitude --epsilon 0.3
for gamma in 0.1 1 10; do
    search "gamma-$gamma-relative" --gamma-scale relative --gamma "$gamma"
done
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out" > "$out/runs.txt"
