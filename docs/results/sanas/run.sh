#!/usr/bin/env bash
# Makes the comparison again, in a folder that is given; goes on where it was interrupted. One thread a cell, as many cells at a time as
# there are cores; an hour on two. LEASE is the program. All sizes and rates are those of cluttered digits, but for the space.
set -euo pipefail
out=${1:?the folder for the comparison}
"${LEASE:-lease}" compare lease darts sanas:preset=sanas \
    sanas-exact:preset=sanas,hypergradient=exact,signed-attack=false \
    --seeds 12 --threads 1 --jobs "${JOBS:-0}" --out "$out" --space pc-darts --partial 4 --channels 8 \
    --epochs 6 --warmup-epochs 2 --batch 32 --learning-rate 0.1 --min-learning-rate 0.001 --architecture-learning-rate 0.015 \
    --audience-learning-rate 0.1 --audience-min-learning-rate 0.001
