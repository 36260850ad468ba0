#!/bin/sh
# The cases that lease_reference.py makes as it is: sh make_cases.sh [--check]
set -eu
export OMP_NUM_THREADS=1
mkdir -p cases
python lease_reference.py cases/cells3_nodes1_12px_magnitude.safetensors "$@" --seed 53 \
  --channels 2 --cells 3 --nodes 1 --in-channels 1 --size 12 --classes 3 --batch 3 --widths 4 --blocks 3 \
  --lr-explainer 0.091 --lr-delta 307 --lr-audience 0.11 --epsilon 0.02 --gamma 0.3 --reweight magnitude
python lease_reference.py cases/cells3_nodes2_4px_ten_classes.safetensors "$@" --seed 50 \
  --channels 1 --cells 3 --nodes 2 --in-channels 3 --size 4 --classes 10 --batch 6 --widths 3 4 --blocks 1 1 \
  --lr-explainer 0.053 --lr-delta 23 --lr-audience 0.17 --epsilon 0.1
python lease_reference.py cases/cells3_nodes2_8px_relative.safetensors "$@" --seed 59 \
  --channels 2 --cells 3 --nodes 2 --in-channels 2 --size 8 --classes 4 --batch 4 --widths 3 4 --blocks 1 1 \
  --lr-explainer 0.087 --lr-delta 0.8 --lr-audience 0.21 --epsilon 0.05 --gamma 1.7 --attack-scale relative
python lease_reference.py cases/cells4_nodes1_relative_magnitude.safetensors "$@" --seed 61 \
  --channels 2 --cells 4 --nodes 1 --in-channels 1 --size 8 --classes 3 --batch 5 --widths 4 --blocks 2 \
  --lr-explainer 0.13 --lr-delta 1.5 --lr-audience 0.15 --epsilon 0.3 --attack-scale relative --reweight magnitude
