#!/usr/bin/env bash
# Makes a small run and pages of all kinds, and looks at them in a real browser and by TensorBoard's own package.
# Needs chromium, python3-websocket and python3-venv (Debian); the package comes from PyPI.
set -euo pipefail
cd "$(dirname "$0")/.."

# The program is built, unless LEASE names one.
[ -n "${LEASE:-}" ] || cargo build --release --workspace
lease=${LEASE:-target/release/lease}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$lease" run --quiet --out "$work/run" --tensorboard --limit 300 --epochs 3 --channels 2 --batch 25 --audience-width 0.1 \
    --train-epochs 2 --train-channels 2 --train-cells 3 --random-architectures 2
pages=("$work/run/report.html")
page() {
    "$lease" report --quiet "$1" --out "$work/$2.html"
    pages+=("$work/$2.html")
}
page "$work/run/train" training
page docs/results/cluttered-digits comparison
page docs/results/nas-bench-201 benchmark
# As it is while the search goes on.
cp -r docs/results/cluttered-digits/first-run "$work/going"
rm -r "$work"/going/{genotype.json,timing.jsonl,train*}
head -c 60000 docs/results/cluttered-digits/first-run/metrics.jsonl >"$work/going/metrics.jsonl"
page "$work/going" going
/usr/bin/python3 scripts/check_report.py "${pages[@]}" ${PICTURES:+--pictures "$PICTURES"}

/usr/bin/python3 -m venv "$work/python"
"$work/python/bin/pip" install -q tensorboard
"$work/python/bin/python" scripts/check_tensorboard.py "$work/run"
