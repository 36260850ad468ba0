#!/usr/bin/env bash
# Makes the comparison again, in a folder that is given; goes on where it was interrupted. One thread a cell, as many cells at a time as
# there are cores; an hour on two. LEASE is the program. All sizes and rates are those of cluttered digits, but for the space.
# From one to the next one thing changes: an audience behind a signed attack, a derivative through the attack, exact products, no audience.
set -euo pipefail
out=${1:?the folder for the comparison}
"${LEASE:-lease}" compare darts-fd:method=darts,hypergradient=finite-difference sanas:preset=sanas \
    sanas-unsigned:preset=sanas,signed-attack=false sanas-exact:preset=sanas,signed-attack=false,hypergradient=exact darts \
    --seeds 8 --threads 1 --jobs "${JOBS:-0}" --out "$out" --space pc-darts --partial 4 --channels 8 \
    --epochs 6 --warmup-epochs 2 --batch 32 --learning-rate 0.1 --min-learning-rate 0.001 --architecture-learning-rate 0.015 \
    --audience-learning-rate 0.1 --audience-min-learning-rate 0.001
