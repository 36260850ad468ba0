"""Time `lease bench` and PyTorch on the same work, alternately, and print medians and ratios.

    cargo build --release
    python reference/compare_with_pytorch.py --channels 16 --cells 8 --batch 16 --rounds 3

Each round runs lease once and PyTorch (pytorch_iteration_bench.py) in each of its settings: eager and
channels-last, with finite differences and with exact products (double backward); --settings names fewer. A figure is
the median over the rounds of each process's median. The ratio is against the fastest of PyTorch's settings. The
machine must be idle: PyTorch's threads wait in barriers, and beside any load its times explode.
"""
import argparse
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETTINGS = {
    "eager": [],
    "channels-last": ["--channels-last"],
    "eager-exact": ["--exact"],
    "channels-last-exact": ["--channels-last", "--exact"],
}
LIMIT = 1200
NETWORKS = {
    "resnet20": ["--widths", "16", "32", "64", "--blocks", "3", "3", "3"],
    "resnet18": ["--widths", "64", "128", "256", "512", "--blocks", "2", "2", "2", "2"],
}
ROWS = {
    "explainer forward+backward": "explainer fwd+bwd",
    "audience forward+backward": "audience fwd+bwd",
    "whole iteration": "LeaSE iteration",
}


def run(command):
    for attempt in range(3):
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
            break
        except subprocess.TimeoutExpired:
            # Seen in PyTorch: one thread spins for ever. Nothing of such a process is counted.
            print(f"no end after {LIMIT} s, attempt {attempt + 1}: {' '.join(command)}", flush=True)
    else:
        sys.exit("given up")
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{result.stderr}")
    return result.stdout


def lease(a):
    out = run([str(a.lease), "bench", "--json", "--runs", str(max(a.iters, 5)), "--side", str(a.size),
               "--channels", str(a.channels), "--cells", str(a.cells), "--nodes", str(a.nodes),
               "--batch", str(a.batch), "--threads", str(a.threads), "--audience-network", a.network,
               "--audience-width", "1", "--reweighting", "signed", "--attack-steps", "1", "--attack-step", "1", "--epsilon", "0.03",
               *(["--parts-only"] if a.parts_only else [])])
    report = json.loads(out)
    return report["median_seconds"], report["peak_mebibytes"]


def pytorch(a, extra):
    out = run([sys.executable, str(HERE / "pytorch_iteration_bench.py"), "--channels", str(a.channels),
               "--cells", str(a.cells), "--nodes", str(a.nodes), "--batch", str(a.batch), "--size", str(a.size),
               "--iters", str(a.iters), "--threads", str(a.threads), *NETWORKS[a.network],
               *(["--parts-only"] if a.parts_only else []), *extra])
    medians = dict(re.findall(r"^(.*?)\s+median\s+([\d.]+) s", out, re.M))
    peak = re.search(r"peak RSS (\d+) MiB", out)
    return {k: float(v) for k, v in medians.items()}, int(peak.group(1))


def main(a):
    print(f"reference/compare_with_pytorch.py {' '.join(sys.argv[1:])}", flush=True)
    ours, theirs = [], {name: [] for name in a.settings}
    for i in range(a.rounds):
        ours.append(lease(a))
        print(f"round {i + 1}: lease {ours[-1]}", flush=True)
        for name in a.settings:
            theirs[name].append(pytorch(a, SETTINGS[name]))
            print(f"round {i + 1}: PyTorch {name} {theirs[name][-1]}", flush=True)

    def median(runs, key):
        return statistics.median(r[0][key] for r in runs)

    print(f"\n{a.channels} channels, {a.cells} cells, {a.nodes} nodes, batch {a.batch}, {a.size}x{a.size}, "
          f"{a.network}, {a.threads} threads, medians of {a.rounds} rounds")
    for row, key in ROWS.items():
        if a.parts_only and row == "whole iteration":
            continue
        mine = median(ours, row)
        print(f"{row}: lease {mine:.4f} s")
        times = {name: median(runs, key) for name, runs in theirs.items()}
        for name, t in times.items():
            print(f"    PyTorch {name:20s} {t:8.4f} s   {t / mine:5.2f} x")
        best = min(times.values())
        print(f"    against its fastest {best / mine:.2f} x")
    mixed = median(ours, "mixed product, A alone")
    print(f"lease: one mixed product takes {mixed / median(ours, 'explainer forward+backward'):.2f} explainer passes")
    print(f"peak memory: lease {max(r[1] for r in ours)} MiB, PyTorch "
          f"{min(max(r[1] for r in runs) for runs in theirs.values())} MiB at least")


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--lease", type=Path, default=HERE.parent / "target/release/lease")
    p.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), help="of PyTorch")
    p.add_argument("--network", choices=NETWORKS, default="resnet20", help="the audience")
    p.add_argument("--parts-only", action="store_true", help="no whole iterations")
    p.add_argument("--channels", type=int, default=16)
    p.add_argument("--cells", type=int, default=8)
    p.add_argument("--nodes", type=int, default=4)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--size", type=int, default=32)
    p.add_argument("--iters", type=int, default=3, help="runs inside each process of PyTorch; lease has at least 5")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    main(p.parse_args())
