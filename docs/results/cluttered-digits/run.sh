#!/usr/bin/env bash
# Makes the comparison again, in a folder that is given; goes on where it was interrupted. One thread, so that timings are those
# of one core; the results are the same with any number. LEASE is the program.
set -euo pipefail
out=${1:?the folder for the comparison}
"${LEASE:-lease}" compare lease darts darts-first random random-search shuffled:explanation=shuffled \
    --seeds 12 --threads 1 --out "$out"
