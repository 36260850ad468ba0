#!/usr/bin/env bash
# Makes the comparison again, in a folder that is given; goes on where it was interrupted. One thread a cell and as many cells at a
# time as there are cores: the results are the same with any number. LEASE is the program.
set -euo pipefail
out=${1:?the folder for the comparison}
"${LEASE:-lease}" compare lease darts darts-first lease-trained:method=lease,selection=trained random shuffled:explanation=shuffled \
    --seeds 12 --threads 1 --jobs "${JOBS:-0}" --out "$out"
