#!/usr/bin/env bash
# Makes the comparisons again: run.sh OUT [SPACE…]. Goes on where it was interrupted. One thread a cell, as many cells at a time as there
# are cores; half an hour a space on two. LEASE is the program. All sizes and rates are those of cluttered digits.
set -euo pipefail
out=${1:?the folder for the comparisons}
shift
[ $# -gt 0 ] || set -- s4 s2
for space in "$@"; do
    "${LEASE:-lease}" compare lease darts darts-first shuffled:explanation=shuffled random \
        --seeds 12 --threads 1 --jobs "${JOBS:-0}" --out "$out/$space" --space "$space"
    python3 "$(dirname "$0")/noise.py" "$out/$space" > "$out/$space/cells.txt"
done
