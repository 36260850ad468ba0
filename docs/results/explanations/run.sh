#!/usr/bin/env bash
# Makes the results of this folder again, in a folder that is given; an hour or more on two idle cores. What is there already is
# left out, so that an interrupted one goes on. LEASE is the program, CIFAR the folder with CIFAR-10 in its binary version.
set -euo pipefail
out=${1:?the folder for the results}
here=$(cd "$(dirname "$0")" && pwd)
lease=${LEASE:-lease}
mkdir -p "$out"

train() { # NAME SETTINGS…
    local name=$1
    shift
    "$lease" train '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|' \
        --out "$out/$name" --threads 2 --train-cells 1 --train-cutout 0 "$@"
}

explained() { # NETWORK NAME SETTINGS…
    local network=$1 name=$2
    shift 2
    if [ ! -f "$out/$network-$name/explanations.json" ]; then
        "$lease" explain "$out/$network" --out "$out/$network-$name" --threads 2 "$@"
    fi
}

explain() { # NETWORK NAME SETTINGS…
    explained "$@" --split train --pictures 6
}

test_images() { # NETWORK NAME SETTINGS…
    explained "$@" --split test --pictures 8 --count 200
}

sweep() { # NETWORK EPSILONS
    local network=$1 epsilon
    shift
    for epsilon in "$@"; do
        explain "$network" "eps$epsilon-1x1" --epsilon "$epsilon" --attack-steps 1 --attack-step 1
        explain "$network" "eps$epsilon-10x0.25" --epsilon "$epsilon" --attack-steps 10 --attack-step 0.25
    done
    explain "$network" "eps$2-10x0.1" --epsilon "$2" --attack-steps 10 --attack-step 0.1
    explain "$network" "eps$2-40x0.25" --epsilon "$2" --attack-steps 40 --attack-step 0.25
}

audience() { # NETWORK SETTINGS…
    local network=$1
    shift
    "$lease" explain "$out/$network" --out "$out/$network-audience" --audience --threads 2 "$@"
}

train digits --train-channels 8 --train-batch 32 --train-epochs 20
train shapes --dataset shapes --train-channels 8
train cifar10 --dataset cifar10 --path "${CIFAR:?the folder with CIFAR-10}" --limit 20000 --test-limit 2000 \
    --train-channels 16 --train-batch 128 --train-epochs 12

sweep digits 0.1 0.3 1
sweep shapes 0.1 0.3 1
sweep cifar10 0.03 0.1 0.3
# Fewer steps, as a search can afford them.
for steps in 3 5; do
    explain cifar10 "eps0.1-${steps}x0.5" --epsilon 0.1 --attack-steps "$steps" --attack-step 0.5
done

# The defaults on test images, and what else a search would take.
for network in digits shapes cifar10; do
    test_images "$network" test
done
test_images cifar10 test-eps0.1-3x0.5 --attack-steps 3 --attack-step 0.5
test_images cifar10 test-eps0.03-1x1 --epsilon 0.03 --attack-steps 1 --attack-step 1

audience digits --seeds 8
audience cifar10 --attack-steps 3 --attack-step 0.5 --seeds 4 --limit 2000 --test-limit 1000 --audience-width 0.5 --audience-epochs 15 --audience-learning-rate 0.1

python3 "$here/tables.py" "$out" > "$out/tables.md"
echo "Tables: $out/tables.md; pictures: $out/*/sheet.png"
