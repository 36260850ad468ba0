#!/usr/bin/env python3
"""Reads a search's event files with TensorBoard's own package and holds them against metrics.jsonl.

    scripts/check_tensorboard.py RUN

Needs the Python package tensorboard.
"""

import json
import math
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main():
    run = pathlib.Path(sys.argv[1])
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
    events.Reload()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    checked = 0
    for line in lines:
        step, prefix = (line["step"], "step") if line["kind"] == "step" else (line["epoch"] + 1, "epoch")
        for key, value in line.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or key in ("step", "epoch"):
                continue
            there = [e.value for e in events.Scalars(f"{prefix}/{key}") if e.step == step]
            assert len(there) == 1 and math.isclose(there[0], value, rel_tol=1e-6, abs_tol=1e-30), (key, step, value, there)
            checked += 1
    epochs = [line for line in lines if line["kind"] == "epoch"]
    for kind, rows in epochs[-1]["mixtures"].items():
        histograms = events.Histograms(f"mixture/{kind}")
        assert [h.step for h in histograms] == [line["epoch"] + 1 for line in epochs]
        last = histograms[-1].histogram_value
        weights = [w for row in rows for w in row]
        assert last.num == len(weights) and math.isclose(last.sum, sum(weights), rel_tol=1e-9)
        assert sum(last.bucket) == len(weights)
        assert len(events.Images(f"mixture_picture/{kind}")) == len(epochs)
    images = events.Images("explanations")
    assert images and all(i.encoded_image_string.startswith(b"\x89PNG") for i in images)
    print(f"{run}: {checked} numbers, mixtures of {len(epochs)} epochs, {len(images)} galleries as in metrics.jsonl")


if __name__ == "__main__":
    main()
