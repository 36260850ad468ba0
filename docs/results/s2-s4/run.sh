#!/usr/bin/env bash
# Makes the comparisons again, in a folder that is given; goes on where it was interrupted. One thread a cell, as many cells at a time as
# there are cores; an hour on two. LEASE is the program. All sizes and rates are those of cluttered digits.
set -euo pipefail
out=${1:?the folder for the comparisons}
for space in s4 s2; do
    "${LEASE:-lease}" compare lease darts darts-first shuffled:explanation=shuffled random \
        --seeds 12 --threads 1 --jobs "${JOBS:-0}" --out "$out/$space" --space "$space"
done
