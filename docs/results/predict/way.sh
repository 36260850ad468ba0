#!/usr/bin/env bash
# From folders of images to ONNX Runtime's answer: CIFAR-10 as PNG files, and shapes at 96 pixels. A few minutes.
#   CIFAR=…/cifar-10-batches-bin docs/results/predict/way.sh 2>&1 | tee docs/results/predict/way.txt
# Needs the program (LEASE, target/release/lease) and a Python (PYTHON, python3) with onnxruntime, numpy and pillow.
set -euo pipefail
lease=${LEASE:-target/release/lease}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

run() {
    printf '\n$ lease %s\n' "${*//$work\//}"
    "$lease" "$@" 2> >(sed "s|$work/||g" >&2) | sed "s|$work/||g"
}

# Answers of ONNX Runtime to images of the network's own size, beside those of lease.
onnx() {
    printf '\n$ ONNX Runtime on %s\n' "${1#"$work"/}"
    "$python" - "$1" "$2" "$3" <<'PYTHON'
import json, sys
from pathlib import Path
import numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
rows = [json.loads(line) for line in Path(sys.argv[3]).read_text().splitlines()]
pixels = np.stack([np.asarray(Image.open(row["image"]).convert("RGB"), np.float32) / 255 for row in rows]).transpose(0, 3, 1, 2)
[theirs] = session.run(None, {"images": pixels})
ours = np.array([[{p["class"]: p["probability"] for p in row["predictions"]}[c] for c in classes] for row in rows])
print(f"{len(rows)} images; largest difference of a probability from lease's: {abs(ours - theirs).max():.1e}")
for row, answer in list(zip(rows, theirs))[:3]:
    print(f"{row['image'].removeprefix(sys.argv[2] + '/')}: {classes[answer.argmax()]} {100 * answer.max():.1f} %")
PYTHON
}

"$python" - "${CIFAR:?the folder with the .bin files of CIFAR-10}" "$work/cifar-png" <<'PYTHON'
import sys
from pathlib import Path
import numpy as np
from PIL import Image
source, to = map(Path, sys.argv[1:])
names = (source / "batches.meta.txt").read_text().split()
for part, file, count in [("train", "data_batch_1.bin", 3000), ("test", "test_batch.bin", 500)]:
    rows = np.frombuffer((source / file).read_bytes(), np.uint8).reshape(-1, 3073)[:count]
    for i, row in enumerate(rows):
        folder = to / part / names[row[0]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(row[1:].reshape(3, 32, 32).transpose(1, 2, 0)).save(folder / f"{i:05}.png")
PYTHON

cell='|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|'
run train "$cell" --dataset folder --path "$work/cifar-png" --train-channels 8 --train-cells 1 --train-epochs "${EPOCHS:-6}" \
    --train-batch 64 --train-validation 0.1 --out "$work/cifar-trained"
run test "$work/cifar-trained" --dataset folder --path "$work/cifar-png"
run predict "$work/cifar-trained" "$work/cifar-png/test/cat" --top 2 | sed -n 1,7p
"$lease" predict -q "$work/cifar-trained" "$work/cifar-png/test" --format jsonl --top 0 >"$work/cifar.jsonl"
run export "$work/cifar-trained" --to onnx --out "$work/cifar.onnx"
onnx "$work/cifar.onnx" "$work" "$work/cifar.jsonl"

run data shapes "$work/shapes" --side 96 --count 300 --test-count 90 --classes 3
run train "$cell" --dataset folder --path "$work/shapes" --image-size 96 --framing stretch --train-channels 8 --train-cells 1 \
    --train-epochs "${EPOCHS:-6}" --train-batch 16 --out "$work/shapes-trained"
run export "$work/shapes-trained" --to onnx --out "$work/shapes.onnx"
"$lease" predict -q "$work/shapes-trained" "$work/shapes/test" --format jsonl --top 0 >"$work/shapes.jsonl"
onnx "$work/shapes.onnx" "$work" "$work/shapes.jsonl"
