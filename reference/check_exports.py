"""Check that exported networks answer as `lease predict` does, on real photographs.

    cargo build --release
    pip install onnxruntime pillow scikit-learn        # and torch and safetensors, where the PyTorch modules are to be checked
    python reference/check_exports.py

The photographs that scikit-learn ships are cut into pieces, a class each. A small network of each kind is trained on them for two
epochs, exported in every form, and asked about the pieces: by `lease predict`, by ONNX Runtime (pixels or normalised images in,
probabilities or logits out, several sizes of batch) and by PyTorch. The largest difference of probabilities and of logits must be
below 1e-4.
"""
import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from sklearn.datasets import load_sample_images

try:
    import torch
except ImportError:
    torch = None

HERE = Path(__file__).resolve().parent
MOST = 1e-4
SMALL = "--train-epochs 2 --train-batch 8 --train-auxiliary 0 --train-drop-path 0".split()
NETWORKS = [
    ("DARTS", ["random:1", "--train-channels", "8", "--train-cells", "5"], 32),
    ("DARTS, odd sides", ["random:2", "--train-channels", "4", "--train-cells", "3"], 33),
    ("DARTS, photos", ["random:3", "--train-channels", "8", "--train-cells", "3"], 96),
    ("DARTS, skip-connects beside", ["random:4", "--train-channels", "4", "--train-cells", "4", "--train-edge-skips", "true"], 32),
    ("NAS-Bench-201", ["random:nas-bench-201:1", "--train-channels", "8", "--train-cells", "2"], 32),
    ("NAS-Bench-201, photos", ["random:nas-bench-201:5", "--train-channels", "8", "--train-cells", "1"], 96),
]


def pieces(folder, side):
    """Cuts the photographs into pieces of this side; the paths of the files."""
    photographs = load_sample_images()
    for name, pixels in zip(photographs.filenames, photographs.images):
        to = folder / Path(name).stem
        to.mkdir(parents=True)
        height, width, _ = pixels.shape
        for y in range(0, height - side + 1, side):
            for x in range(0, width - side + 1, side):
                Image.fromarray(pixels[y : y + side, x : x + side]).save(to / f"{y:03}-{x:03}.png")
    return sorted(folder.glob("*/*.png"))


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def asked(lease, trained, folder, files, classes):
    """Probabilities by `lease predict`."""
    lines = run(lease, "predict", trained, folder, "--format", "jsonl", "--top", 0, "-q").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["image"] for row in rows] == [str(file) for file in files]
    by_name = [{p["class"]: p["probability"] for p in row["predictions"]} for row in rows]
    return np.array([[row[name] for name in classes] for row in by_name])


def by_onnx(path, images, batch):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [images[i : i + batch] for i in range(0, len(images), batch)]
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    return np.concatenate([session.run(None, {"images": part})[0] for part in parts]), classes


def by_pytorch(folder, pixels):
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    network = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(network)
    with torch.no_grad():
        return network.load()(network.normalised(torch.from_numpy(pixels))).numpy()


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def check(lease, name, source, side, root):
    folder = root / "pieces"
    files = pieces(folder, side)
    trained = root / "trained"
    run(lease, "train", *source, *SMALL, "--dataset", "folder", "--path", folder, "--image-size", side, "--framing", "stretch", "--out", trained, "-q")
    pixels = np.stack([np.asarray(Image.open(file), np.float32) / 255 for file in files]).transpose(0, 3, 1, 2)
    pixels = np.ascontiguousarray(pixels)
    model = json.loads((trained / "model.json").read_text())
    mean, std = (np.array(model[key], np.float32).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    ours = asked(lease, trained, folder, files, model["classes"])
    assert np.ptp(ours[:, 0]) > 0.01, "the answers are all alike"

    def onnx(*flags):
        path = root / ("network" + "".join(flags) + ".onnx")
        run(lease, "export", trained, "--to", "onnx", "--out", path, *flags)
        return path

    probabilities, classes = by_onnx(onnx(), pixels, 64)
    assert classes == model["classes"]
    logits, _ = by_onnx(onnx("--no-softmax"), pixels, 1)
    inner, _ = by_onnx(onnx("--no-normalisation", "--no-softmax"), (pixels - mean) / std, 7)
    found = {
        "ONNX": abs(probabilities - ours).max(),
        "its logits": max(abs(softmax(logits) - ours).max(), abs(inner - logits).max()),
    }
    if torch is not None:
        run(lease, "export", trained, "--to", "pytorch", "--out", root / "pytorch")
        theirs = by_pytorch(root / "pytorch", pixels)
        found["PyTorch's logits"] = abs(theirs - logits).max()
    told = ", ".join(f"{what} {difference:.1e}" for what, difference in found.items())
    print(f"{name}: {len(files)} images of {side}×{side}; largest differences: {told}", flush=True)
    return all(difference < MOST for difference in found.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lease", default=HERE.parent / "target/release/lease", type=Path)
    a = parser.parse_args()
    if torch is None:
        print("torch is not installed, so the PyTorch modules are not checked")
    good = True
    for name, source, side in NETWORKS:
        with tempfile.TemporaryDirectory() as root:
            good &= check(a.lease, name, source, side, Path(root))
    sys.exit(0 if good else f"a difference is not below {MOST}")


if __name__ == "__main__":
    main()
