"""What the runs of a comparison recorded on the way: a line for each run folder.

    python scripts/summarise_runs.py docs/results/nas-bench-201

Reads every metrics.jsonl (or .gz) below the folders given. For each run: the true CIFAR-10 test accuracy of the cell
that would have been derived after each epoch (where there was a table), the explainer's validation accuracy and the
coefficients' entropy at the end, and, over the steps in which the architecture moved, the median share of |δ| at ε and
the median norm of the audience's term, before γ, over that of the explainer's, where these were recorded.
"""
import gzip
import json
import statistics
import sys
from pathlib import Path


def lines(path):
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        return [json.loads(line) for line in file]


def median(values):
    return f"{statistics.median(values):9.3f}" if values else f"{'–':>9}"


def main(folders):
    print(f"{'run':32} {'val':>6} {'entropy':>8} {'at ε':>9} {'norms':>9}  true accuracy by epoch")
    paths = sorted(p for f in folders for p in Path(f).rglob("metrics.jsonl*"))
    for path in paths:
        all_lines = lines(path)
        epochs = [m for m in all_lines if m.get("kind") == "epoch"]
        moved = [m for m in all_lines if m.get("kind") == "step" and not m["warmup"]]
        if not epochs:
            continue
        heard = [m for m in moved if m.get("audience_term_norm") is not None]
        ratios = [m["audience_term_norm"] / m["explainer_term_norm"] for m in heard]
        shares = [m["share_at_epsilon"] for m in moved if m.get("share_at_epsilon") is not None]
        truth = [m["standing"] for m in epochs if "standing" in m]
        accuracies = " ".join(f"{t['cifar10_test']:.2f}" for t in truth)
        name = "/".join(path.parent.parts[-2:])
        entropy = statistics.mean(epochs[-1]["entropy"].values())
        print(f"{name:32} {epochs[-1]['explainer_val_accuracy']:6.3f} {entropy:8.3f} {median(shares)} "
              f"{median(ratios)}  {accuracies}")


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
