"""How the time per image grows with the supernet's channels and cells and with the batch, beside the arithmetic.

    cargo build --release
    python scripts/scaling.py

Each row doubles one size of the DARTS supernet (8 channels, 4 cells, batch 16, 32×32 pixels) and times
`lease bench` there: the explainer's forward and backward pass, median of its runs, over the images of a batch. The
arithmetic is the multiply-adds of the forward pass of one image, counted here from the operations' definition.
"""
import argparse
import json
import subprocess
from pathlib import Path

START = {"channels": 8, "cells": 4, "batch": 16}
NODES, SIDE, CLASSES = 4, 32, 10


def multiply_adds(channels, cells):
    """Of one image: convolutions, and nine additions for each pixel and channel of a pool."""
    total, side, before, last = 27 * 3 * channels * SIDE**2, SIDE, 3 * channels, 3 * channels
    for i in range(cells):
        reduction = i in (cells // 3, 2 * cells // 3)
        channels *= 2 if reduction else 1
        total += (before + last) * channels * side**2
        area, out = side**2, (side // 2) ** 2 if reduction else side**2
        for node in range(NODES):
            for source in range(2 + node):
                strided = reduction and source < 2
                pixels = out if strided or reduction else area
                for taps in (9, 25):
                    # Two depthwise-separable convolutions, then the dilated one.
                    total += 3 * (taps * channels + channels**2) * pixels
                total += channels**2 * pixels if strided else 0
        states = 2 + NODES - 1
        total += 2 * 9 * states * channels * out
        side = side // 2 if reduction else side
        before, last = last, NODES * channels
    return total + last * CLASSES


def seconds(lease, sizes, runs):
    flags = [f for name, n in sizes.items() for f in (f"--{name}", str(n))]
    command = [str(lease), "bench", "--json", "--parts-only", "--runs", str(runs), "--side", str(SIDE), "--nodes",
               str(NODES), "--audience-width", "0.25", *flags]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return report["median_seconds"]["explainer forward+backward"] / sizes["batch"]


def main(a):
    print(f"{'channels':>8} {'cells':>6} {'batch':>6} {'ms an image':>12} {'grows':>7} {'arithmetic':>11}")
    for name in START:
        last = None
        for doublings in range(a.doublings + 1):
            sizes = START | {name: START[name] * 2**doublings}
            here = seconds(a.lease, sizes, a.runs), multiply_adds(sizes["channels"], sizes["cells"])
            growth = "" if last is None else f"{here[0] / last[0]:7.2f} {here[1] / last[1]:11.2f}"
            print(f"{sizes['channels']:8} {sizes['cells']:6} {sizes['batch']:6} {1000 * here[0]:12.2f} {growth}", flush=True)
            last = here


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--lease", type=Path, default=Path(__file__).resolve().parent.parent / "target/release/lease")
    p.add_argument("--runs", type=int, default=7)
    p.add_argument("--doublings", type=int, default=2)
    main(p.parse_args())
