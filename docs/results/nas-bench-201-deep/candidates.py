"""What a selection by short trainings finds with fewer candidates, beside as many random draws.

    python candidates.py FOLDER TABLE.csv.gz

FOLDER is a comparison's, TABLE is crates/lease/data/nas_bench_201.csv.gz. For each method the true CIFAR-10 test accuracy of the most accurate
of the first K candidates (draws) after the short trainings: mean ± standard deviation over seeds, the worst, and the mean rank of the chosen one
among the candidates by likelihood.
"""
import csv
import gzip
import json
import statistics
import sys
from pathlib import Path

folder, table = Path(sys.argv[1]), sys.argv[2]
with gzip.open(table, "rt") as file:
    truth = {row["arch"]: float(row["cifar10_test"]) for row in csv.DictReader(file)}
for method in sorted(p for p in folder.iterdir() if p.is_dir()):
    files = [f for seed in method.glob("seed*") for f in [*seed.glob("candidates.json"), *seed.glob("draws.json")]]
    lists = [json.loads(f.read_text()) for f in files]
    if not lists:
        continue
    print(f"{method.name}, {len(lists)} seeds")
    for k in (1, 2, 5, 10, 20, 50):
        chosen = [max(range(min(k, len(of))), key=lambda i: of[i]["val_accuracy"]) for of in lists]
        reached = [truth[of[i]["genotype"]] for of, i in zip(lists, chosen)]
        deviation = statistics.stdev(reached) if len(reached) > 1 else 0.0
        print(f"  of {k:2}: {statistics.mean(reached):.2f} ± {deviation:.2f}, worst {min(reached):.2f}, number {statistics.mean(chosen) + 1:.1f}")
