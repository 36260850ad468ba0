#!/usr/bin/env bash
# Copies what of a comparison belongs into docs/results: settings, steps, genotypes and results of every cell, and the tables, without weights
# and checkpoints: keep_records.sh COMPARISON DOCS [DATA], where DATA is the folder of the data, which is called `data` in the copies. A later
# comparison of the same settings takes such cells as done once their metrics are unpacked again.
set -euo pipefail
from=${1:?the folder of the comparison} to=${2:?the folder for the records} data=${3:-data}
named() { sed "s#$data#data#g" "$1" > "$2"; }
mkdir -p "$to"
for cell in "$from"/*/seed*; do
    [ -f "$cell/found.json" ] || continue
    kept=$to/${cell#"$from"/}
    rm -rf "$kept"
    mkdir -p "$kept"
    named "$cell/config.toml" "$kept/config.toml"
    for file in found.json genotype.json candidates.json draws.json; do
        [ ! -f "$cell/$file" ] || cp "$cell/$file" "$kept/"
    done
    [ ! -f "$cell/metrics.jsonl" ] || gzip -9nc "$cell/metrics.jsonl" > "$kept/metrics.jsonl.gz"
    if [ -f "$cell/train/result.json" ]; then
        mkdir -p "$kept/train"
        cp "$cell/train/result.json" "$kept/train/"
        gzip -9nc "$cell/train/metrics.jsonl" > "$kept/train/metrics.jsonl.gz"
    fi
done
for file in comparison.md comparison.csv comparison.json runs.txt cells.txt pairs.txt; do
    [ ! -f "$from/$file" ] || named "$from/$file" "$to/$file"
done
