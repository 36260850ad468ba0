"""Time steps of a derived network's training by `lease bench --train` and by PyTorch, alternately; print medians and ratios.

    cargo build --release
    python reference/compare_training.py darts --batch 32
    python reference/compare_training.py darts --batch 96
    python reference/compare_training.py nas-bench-201 --batch 256

`darts` is DARTS_V2 with 36 channels, 20 cells, auxiliary head and path dropout at its last epoch's 0.2; `nas-bench-201` the
benchmark's network of a cell. A step is data already in memory, forward, backward, clipping and SGD; lease's includes the
augmentation of its images. PyTorch runs eager, channels-last, and compiled, each in a process of its own; the ratio is against the
fastest. The machine must be idle.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).resolve().parent
DARTS_V2 = {
    "normal": [["sep_conv_3x3", 0], ["sep_conv_3x3", 1], ["sep_conv_3x3", 0], ["sep_conv_3x3", 1],
               ["sep_conv_3x3", 1], ["skip_connect", 0], ["skip_connect", 0], ["dil_conv_3x3", 2]],
    "normal_concat": [2, 3, 4, 5],
    "reduce": [["max_pool_3x3", 0], ["max_pool_3x3", 1], ["skip_connect", 2], ["max_pool_3x3", 1],
               ["max_pool_3x3", 0], ["skip_connect", 2], ["skip_connect", 2], ["max_pool_3x3", 1]],
    "reduce_concat": [2, 3, 4, 5],
}
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
SETTINGS = ["eager", "channels-last", "compiled"]


class Derived(nn.Module):
    """A network of the benchmark without a supernet's mixing weights."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x, None)


def network(space):
    if space == "darts":
        from make_evaluation import Evaluation
        return Evaluation(DARTS_V2, 36, 20, 10, drop_path_prob=0.2)
    import make_nas_bench_201 as bench
    bench.CELL = CELL
    return Derived(bench.Network(bench.InferCell, 16, 5, 10))


def pytorch_steps(a):
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    net = network(a.space).train()
    x, t = torch.randn(a.batch, 3, 32, 32), torch.randint(0, 10, (a.batch,))
    if a.setting == "channels-last":
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    call = torch.compile(net) if a.setting == "compiled" else net
    sgd = torch.optim.SGD(net.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)

    def step():
        sgd.zero_grad()
        out = call(x)
        logits, aux = out if isinstance(out, tuple) else (out, None)
        loss = F.cross_entropy(logits, t)
        if aux is not None:
            loss = loss + 0.4 * F.cross_entropy(aux, t)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        sgd.step()

    step()
    seconds = []
    for _ in range(a.iters):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds))


def lease(a):
    source = json.dumps(DARTS_V2) if a.space == "darts" else CELL
    sizes = (["--train-channels", "36", "--train-cells", "20", "--train-auxiliary", "0.4", "--train-drop-path", "0.2"]
             if a.space == "darts" else ["--train-channels", "16", "--train-cells", "5", "--train-auxiliary", "0"])
    command = [str(a.lease), "bench", "--train", source, "--json", "--runs", str(a.iters), *sizes,
               "--train-batch", str(a.batch), "--threads", str(a.threads)]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return report["median_seconds"]["training step"]


def main(a):
    print(f"reference/compare_training.py {' '.join(sys.argv[1:])}", flush=True)
    ours, theirs = [], {setting: [] for setting in a.settings}
    for i in range(a.rounds):
        ours.append(lease(a))
        print(f"round {i + 1}: lease {ours[-1]:.3f} s", flush=True)
        for setting in a.settings:
            command = [sys.executable, __file__, a.space, "--setting", setting, "--batch", str(a.batch),
                       "--iters", str(a.iters), "--threads", str(a.threads)]
            result = subprocess.run(command, capture_output=True, text=True, cwd=HERE)
            if result.returncode != 0:
                print(f"round {i + 1}: {setting} failed: {result.stderr.strip().splitlines()[-1:]}", flush=True)
                continue
            theirs[setting].append(statistics.median(json.loads(result.stdout)))
            print(f"round {i + 1}: PyTorch {setting} {theirs[setting][-1]:.3f} s", flush=True)
    ours = statistics.median(ours)
    medians = {setting: statistics.median(times) for setting, times in theirs.items() if times}
    best = min(medians, key=medians.get)
    print(f"lease {ours:.3f} s; " + "; ".join(f"{s} {m:.3f} s" for s, m in medians.items()))
    print(f"PyTorch's fastest ({best}) takes {medians[best] / ours:.2f} times as long")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("space", choices=["darts", "nas-bench-201"])
    p.add_argument("--lease", type=Path, default=HERE.parent / "target/release/lease")
    p.add_argument("--batch", type=int, default=96)
    p.add_argument("--iters", type=int, default=3, help="steps in each process, after one that is not counted")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS, help="of PyTorch")
    p.add_argument("--setting", choices=SETTINGS, help="time PyTorch alone, in this setting")
    a = p.parse_args()
    pytorch_steps(a) if a.setting else main(a)
