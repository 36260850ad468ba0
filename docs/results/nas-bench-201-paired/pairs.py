"""Pairs of methods over the seeds that both have in a comparison's folder: same cells, and
differences on all three data sets.

    python pairs.py FOLDER [A,B ...]

Intervals are ± the 97.5 % point of Student's t with n − 1 degrees of freedom times the standard error.
"""
import json
import statistics
import sys
from pathlib import Path

T = {5: 2.571, 7: 2.365, 11: 2.201, 23: 2.069}
PAIRS = ["lease,darts", "lease,lease-shuffled", "lease-shuffled,darts"]
PAIRS += [f"lease-three-steps,{other}" for other in ["darts", "lease", "lease-shuffled"]]
cells = json.loads((Path(sys.argv[1]) / "comparison.json").read_text())["cells"]
found = {(c["method"], c["seed"]): c for c in cells}
for a, b in (pair.split(",") for pair in sys.argv[2:] or PAIRS):
    pairs = [(cell, found[b, s]) for (method, s), cell in found.items() if method == a and (b, s) in found]
    print(f"{a} − {b}: the same cell {sum(x['genotype'] == y['genotype'] for x, y in pairs)} times of {len(pairs)}")
    for key in ["cifar10_test", "cifar100_test", "in16_test"]:
        of = [x[key] - y[key] for x, y in pairs]
        half = T[len(of) - 1] * statistics.stdev(of) / len(of) ** 0.5
        print(f"    {key:14} {statistics.mean(of):+.2f} ± {half:.2f}, better {sum(d > 0 for d in of)}, worse {sum(d < 0 for d in of)}")
