"""What the cells of a comparison's architectures are made of, seed by seed: accuracy, and operations without weights among all edges.

    python noise.py FOLDER

A cell of a line is accuracy:count, count being that of noise (S4) or skip-connects (S2) among the sixteen edges of both cells.
"""
import json
import statistics
import sys
from pathlib import Path

cells = json.loads((Path(sys.argv[1]) / "comparison.json").read_text())["cells"]
methods = list(dict.fromkeys(cell["method"] for cell in cells))
for method in methods:
    of = sorted((cell for cell in cells if cell["method"] == method), key=lambda cell: cell["seed"])
    counts = [cell["genotype"].count("'noise'") + cell["genotype"].count("'skip_connect'") for cell in of]
    each = " ".join(f"{cell['accuracy']:.1f}:{count}" for cell, count in zip(of, counts))
    print(f"{method:12} {statistics.mean(counts):4.1f}  {each}")
