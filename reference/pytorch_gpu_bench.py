"""Time pytorch_iteration_bench.py's passes in each of PyTorch's settings for a GPU, in one process.

    python pytorch_gpu_bench.py --space nas-bench-201 --channels 16 --cells 5 --batch 64

Settings from the fastest to expect to the slowest, so that a limit on time cuts the least: passes replayed as CUDA graphs,
then eager; each with TF32 and without, in PyTorch's default layout and channels-last. --with-compile adds torch.compile,
which takes minutes before its first pass. The summary at the end names the fastest of each pass.
"""
import gc
import itertools
import re
import signal
import sys
from contextlib import redirect_stdout

import torch

import pytorch_iteration_bench as bench


class Tee:
    """Writes to standard output and remembers."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        sys.__stdout__.write(text)

    def flush(self):
        sys.__stdout__.flush()


def settings(a):
    for graphs, tf32, channels_last in itertools.product([True, False], [True, False], [False, True]):
        if a.device == "cpu" and (graphs or tf32):
            continue
        yield {"graphs": graphs, "tf32": tf32, "channels_last": channels_last}
    if a.with_compile:
        yield {"compile": True, "graphs": True, "tf32": True}


def time_all(a, best):
    for changes in settings(a):
        name = ", ".join(k.replace("_", "-") for k, v in changes.items() if v) or "eager"
        print(f"-- {name}", flush=True)
        for k in ("graphs", "tf32", "channels_last", "compile"):
            setattr(a, k, changes.get(k, False))
        tee = Tee()
        try:
            with redirect_stdout(tee):
                bench.main(a)
        except Exception as error:  # one setting that fails takes nothing from the others
            print(f"failed: {type(error).__name__}: {str(error).strip().splitlines()[0]}", flush=True)
        for row, seconds in re.findall(r"^(.*?)\s+median\s+([\d.]+) s", tee.text, re.M):
            best[row] = min(best.get(row, (float("inf"), "")), (float(seconds), name))
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def main(a):
    best = {}
    # A limit on time ends this by SIGTERM; what there is by then is told.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(124))
    try:
        time_all(a, best)
    finally:
        for row, (seconds, name) in best.items():
            print(f"fastest {row:18s} {seconds:8.4f} s  ({name})", flush=True)


if __name__ == "__main__":
    p = bench.arguments()
    p.add_argument("--with-compile", action="store_true", help="torch.compile too")
    p.set_defaults(device="cuda")
    main(p.parse_args())
