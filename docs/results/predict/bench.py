"""Time `lease predict` against ONNX Runtime running the exported network: images a second, files to answers.

    cargo build --release
    pip install onnxruntime pillow scikit-learn
    python docs/results/predict/bench.py | tee docs/results/predict/two-cores.txt

Pieces of the photographs that scikit-learn ships, as PNG files of 32×32 pixels and as JPEG files of 640×427 that are brought to
224×224. Networks: DARTS_V2 of 36 channels and 20 cells and the benchmark's size of a cell of NAS-Bench-201 for the small ones; DARTS_V2 of 48
channels and 14 cells for photos. They are trained for one epoch of a few images, since answers do not matter.

`lease predict` runs as a program, `--threads 2`; its time is the one that it tells, without the start of the process and reading the weights. ONNX
Runtime (`intra_op_num_threads=2`) gets the same files in the same batches: Pillow decodes and resizes them in two threads while the batch before is computed.
`compute` is ONNX Runtime alone, on images that lie in memory. The two alternate; medians of the rounds. The machine must be idle.
"""
import argparse
import concurrent.futures
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from sklearn.datasets import load_sample_images

ROOT = Path(__file__).resolve().parents[3]
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), "
    "('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
NETWORKS = [
    ("NAS-Bench-201, 16 channels, 5 cells a stage, 32×32", CELL, ["--train-channels", "16", "--train-cells", "5"], 32, 1024),
    ("DARTS_V2, 36 channels, 20 cells, 32×32", DARTS_V2, ["--train-channels", "36", "--train-cells", "20"], 32, 256),
    ("DARTS_V2, 48 channels, 14 cells, 224×224", DARTS_V2, ["--train-channels", "48", "--train-cells", "14"], 224, 256),
]


def make(folder, side, count):
    """Files of two classes; the small ones are pieces as PNG, the large ones whole photographs, shifted, as JPEG."""
    photographs = load_sample_images()
    for name, pixels in zip(photographs.filenames, photographs.images):
        to = folder / Path(name).stem
        to.mkdir(parents=True)
        for i in range(count // 2):
            if side < 100:
                y, x = (7 * i) % (pixels.shape[0] - side), (13 * i) % (pixels.shape[1] - side)
                Image.fromarray(pixels[y : y + side, x : x + side]).save(to / f"{i:04}.png")
            else:
                Image.fromarray(np.roll(pixels, 5 * i, axis=1)).save(to / f"{i:04}.jpg", quality=90)
    return sorted(folder.glob("*/*"))


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done


def ours(lease, trained, folder, batch):
    """Images a second, as the program tells."""
    done = run(lease, "predict", trained, folder, "--format", "jsonl", "--threads", 2, "--batch", batch)
    images, seconds = re.search(r"(\d+) images in ([\d.]+) s", done.stderr).groups()
    return int(images) / float(seconds)


def decode(side):
    def one(file):
        image = Image.open(file).convert("RGB")
        if image.size != (side, side):
            image = image.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(image, np.float32).transpose(2, 0, 1) / 255

    return one


def theirs(session, files, side, batch):
    """Images a second, files to answers, and of the computation alone."""
    one, parts = decode(side), [files[i : i + batch] for i in range(0, len(files), batch)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        started = time.perf_counter()
        coming = [pool.submit(one, file) for file in parts[0]]
        for number in range(len(parts)):
            images = np.stack([image.result() for image in coming])
            coming = [pool.submit(one, file) for file in parts[number + 1]] if number + 1 < len(parts) else []
            session.run(None, {"images": images})
        whole = len(files) / (time.perf_counter() - started)
    images = np.stack([one(file) for file in parts[0]])
    started = time.perf_counter()
    for _ in parts:
        session.run(None, {"images": images})
    return whole, len(parts) * len(images) / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lease", default=ROOT / "target/release/lease", type=Path)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--batch", default=32, type=int)
    parser.add_argument("--share", default=1.0, type=float, help="of the images; less for a trial")
    a = parser.parse_args()
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{model[0].split(': ')[1] if model else 'processor unknown'}; ONNX Runtime {onnxruntime.__version__}; batches of {a.batch}")
    print(f"{'images a second':52} {'lease':>8} {'ORT':>8} {'compute':>8} {'lease/ORT':>10}")
    for name, genotype, size, side, count in NETWORKS:
        with tempfile.TemporaryDirectory() as root:
            root = Path(root)
            count = max(2 * a.batch, int(count * a.share))
            files = make(root / "files", side, count)
            make(root / "few", side, 20)
            small = ["--train-epochs", 1, "--train-batch", 8, "--train-auxiliary", 0, "--train-drop-path", 0]
            data = ["--dataset", "folder", "--path", root / "few", "--image-size", side, "--framing", "stretch"]
            run(a.lease, "train", genotype, *size, *small, *data, "--out", root / "trained", "-q")
            run(a.lease, "export", root / "trained", "--to", "onnx", "--out", root / "network.onnx")
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 2
            session = onnxruntime.InferenceSession(root / "network.onnx", options, providers=["CPUExecutionProvider"])
            rounds = [(ours(a.lease, root / "trained", root / "files", a.batch), *theirs(session, files, side, a.batch)) for _ in range(a.rounds)]
            lease, ort, compute = (statistics.median(column) for column in zip(*rounds))
            ratio = statistics.median(r[0] / r[1] for r in rounds)
            print(f"{name:52} {lease:8.1f} {ort:8.1f} {compute:8.1f} {ratio:10.2f}", flush=True)
            print(json.dumps({"network": name, "rounds": rounds}), file=sys.stderr)


if __name__ == "__main__":
    main()
