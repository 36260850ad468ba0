#!/usr/bin/env bash
# From folders of images to ONNX Runtime's answer, each command as one would type it: pieces of photographs at their own sizes, CIFAR-10 as
# PNG files, and shapes at 96 pixels. About ten minutes of two cores. What is to be seen is that each step does what it says; the
# networks are small, and trained briefly.
#   CIFAR=…/cifar-10-batches-bin docs/results/predict/way.sh 2>&1 | tee docs/results/predict/way.txt
# Needs the program (LEASE, target/release/lease) and a Python (PYTHON, python3) with onnxruntime, numpy, pillow, scikit-image, scikit-learn.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
program=$(realpath "${LEASE:-$here/../../../target/release/lease}")
python=${PYTHON:-python3}
cifar=$(realpath "${CIFAR:?the folder with the .bin files of CIFAR-10}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export XDG_CACHE_HOME=$work/cache

# A command, and what it prints; of how far it is only the ends of epochs.
lease() {
    printf '\n$ lease'
    printf ' %s' "${@@Q}" | sed "s/'\([[:alnum:]_.\/:=-]*\)'/\1/g"
    printf '\n'
    "$program" "$@" 2>&1 | sed -u "s|$work/||g" | grep --line-buffered -v 'steps/s\|^[0-9]*/[0-9]* images$'
}

# NAME AT SETTING…: from the folder NAME to ONNX Runtime's answers, which may differ by AT; settings of data for the search.
way() {
    name=$1 at=$2
    shift 2
    lease data check "$name" --sheet "$name.png"
    lease search --dataset folder --path "$name" "$@" --space nas-bench-201 --derive-none false --channels 8 --cells 1 \
        --audience-width 0.5 --epochs 3 --batch 16 --learning-rate 0.05 --architecture-learning-rate 0.02 --out "$name-run"
    lease train "$name-run" --train-channels 16 --train-cells 1 --train-epochs "$epochs" --train-batch 32 --train-validation 0.15
    lease test "$name-run" --dataset folder --path "$name"
    lease predict "$name-run" "$(find "$name/test" -name '*.*' | sort | sed -n 5p)" "$name/test/$class" --top 2 | sed -n 1,8p
    "$program" predict -q "$name-run" "$name/test" --format jsonl --top 0 >"$name.jsonl"
    lease export "$name-run" --to onnx --out "$name.onnx"
    printf '\n$ python way.py onnx %s.onnx %s.jsonl\n' "$name" "$name"
    "$python" "$here/way.py" onnx "$name.onnx" "$name.jsonl" "$at"
}

echo "== Photographs: pieces of ten, of 96 to 160 pixels"
"$python" "$here/way.py" photos photos
# The pieces are brought to 96 pixels; Pillow rounds differently in between.
epochs=60 class=coffee way photos 0.05

printf '\n== CIFAR-10 as PNG files\n'
"$python" "$here/way.py" cifar "$cifar" cifar 150 30
epochs=12 class=frog way cifar 1e-4

printf '\n== Shapes\n'
lease data shapes shapes --side 96 --count 900 --test-count 90 --classes 3
epochs=20 class=triangle way shapes 1e-4 --framing stretch --augment crop-flip
