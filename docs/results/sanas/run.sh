#!/usr/bin/env bash
# Makes the comparison again, in a folder that is given; goes on where it was interrupted. One thread a cell, as many cells at a time as
# there are cores; an hour and a half on two. LEASE is the program. Sizes and rates are near those of cluttered digits; with one channel in four, as
# PC-DARTS has it on 16 channels, supernets of 8 learn nothing in this time, and with signed products the audience learns nothing.
# From one to the next one thing changes: an audience behind a signed attack, a derivative through the attack, exact products, no audience.
set -euo pipefail
out=${1:?the folder for the comparison}
compare() {
    "${LEASE:-lease}" compare darts-fd:method=darts,hypergradient=finite-difference sanas:preset=sanas \
        sanas-unsigned:preset=sanas,signed-attack=false sanas-exact:preset=sanas,signed-attack=false,hypergradient=exact darts \
        --seeds 6 --threads 1 --out "$out" --space pc-darts --partial 2 --channels 8 --reweighting magnitude \
        --epochs 10 --warmup-epochs 6 --batch 32 --learning-rate 0.1 --min-learning-rate 0.001 --architecture-learning-rate 0.015 \
        --audience-learning-rate 0.1 --audience-min-learning-rate 0.001 "$@"
}
compare --jobs "${JOBS:-0}"
compare --collect --against sanas-exact | sed '/^Folder/,$d' > "$out/against-sanas-exact.md"
compare --collect
python3 "$(dirname "$0")/../../../scripts/summarise_runs.py" "$out"/*/ > "$out/runs.txt"
