"""Folders of real images, and ONNX Runtime's answers beside those of `lease predict`; for way.sh.

    way.py photos TO             pieces of 96 to 160 pixels a side of photographs that scikit-image and scikit-learn ship, in train/ and
                                 test/, a class for each photograph, half of them PNG, half JPEG
    way.py cifar FROM TO N M     N training and M test images of each class of CIFAR-10 (binary version) as PNG files
    way.py onnx FILE JSONL [AT]  the answers of ONNX Runtime for the images of `lease predict --format jsonl --top 0`; an error where the
                                 image is of the network's size and a probability differs by more than 1e-4, else by more than AT
"""
import json
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = ["astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg",
               "rocket.jpg", "china.jpg", "flower.jpg"]
MOST = 30


def photos(to):
    import skimage
    import sklearn.datasets

    shipped = [Path(skimage.__file__).parent / "data", Path(sklearn.datasets.__file__).parent / "images"]
    draw = random.Random(0)
    for name in PHOTOGRAPHS:
        photo = Image.open(next(folder / name for folder in shipped if (folder / name).exists())).convert("RGB")
        # A grid of the photograph, and in each field a piece of it: none is in two pieces.
        rows, columns = (max(2, min(n // 100, 6)) for n in (photo.height, photo.width))
        fields = [(row, column) for row in range(rows) for column in range(columns)]
        draw.shuffle(fields)
        for number, (row, column) in enumerate(fields[:MOST]):
            height, width = photo.height // rows, photo.width // columns
            sides = [min(draw.randint(96, 160), most) for most in (width, height)]
            left, top = column * width + draw.randint(0, width - sides[0]), row * height + draw.randint(0, height - sides[1])
            piece = photo.crop((left, top, left + sides[0], top + sides[1]))
            folder = to / ("test" if number % 4 == 3 else "train") / Path(name).stem
            folder.mkdir(parents=True, exist_ok=True)
            ending, how = (".jpg", {"quality": 92}) if number // 4 % 2 else (".png", {})
            piece.save(folder / f"{number:02}{ending}", **how)


def cifar(source, to, train, test):
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    for part, file, each in [("train", "data_batch_1.bin", train), ("test", "test_batch.bin", test)]:
        records = np.fromfile(source / file, np.uint8).reshape(-1, 3073)
        for label, name in enumerate(names):
            folder = to / part / name
            folder.mkdir(parents=True)
            for number, record in enumerate(records[records[:, 0] == label][:each]):
                Image.fromarray(record[1:].reshape(3, 32, 32).transpose(1, 2, 0)).save(folder / f"{number:04}.png")


def seen(file, side, cropped):
    """The pixels that the network sees, by Pillow: all of the image, or the middle of it at 256/224 of the size."""
    image = Image.open(file).convert("RGB")
    if not cropped:
        return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.BILINEAR)
    kept = round(side * 256 / 224)
    short = min(image.size)
    image = image.resize([n * kept // short for n in image.size], Image.Resampling.BILINEAR)
    left, top = (round((n - side) / 2) for n in image.size)
    return image.crop((left, top, left + side, top + side))


def onnx(network, answers, most=1e-4):
    import onnxruntime

    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    classes, [wanted] = json.loads(meta["classes"]), session.get_inputs()
    print(f"ONNX Runtime {onnxruntime.__version__}: {wanted.name} {wanted.shape} -> {session.get_outputs()[0].name}; {len(classes)} classes")
    print(f"images: {meta['images']}")
    rows = [json.loads(line) for line in Path(answers).read_text().splitlines()]
    side, cropped = wanted.shape[2], "middle" in meta["images"]
    pixels = np.stack([np.asarray(seen(row["image"], side, cropped), np.float32).transpose(2, 0, 1) / 255 for row in rows])
    theirs = np.concatenate([session.run(None, {wanted.name: pixels[i:i + 64]})[0] for i in range(0, len(rows), 64)])
    ours = np.array([[{p["class"]: p["probability"] for p in row["predictions"]}[c] for c in classes] for row in rows])
    apart, endings = abs(ours - theirs).max(1), [Path(row["image"]).suffix for row in rows]
    worst = {ending: max(d for d, e in zip(apart, endings) if e == ending) for ending in sorted(set(endings))}
    same = (ours.argmax(1) == theirs.argmax(1)).sum()
    print(f"{len(rows)} images, {same} with the same class; largest difference of a probability from lease's: "
          + ", ".join(f"{difference:.1e} ({ending})" for ending, difference in worst.items()))
    for at in range(0, len(rows), max(1, len(rows) // 3)):
        name = "/".join(Path(rows[at]["image"]).parts[-2:])
        print(f"{name}: {classes[theirs[at].argmax()]} {100 * theirs[at].max():.1f} % (lease: {100 * ours[at][theirs[at].argmax()]:.1f} %)")
    if max(worst.values()) > most:
        sys.exit(f"the answers differ by more than {most}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["photos", to]:
            photos(Path(to))
        case ["cifar", source, to, train, test]:
            cifar(Path(source), Path(to), int(train), int(test))
        case ["onnx", network, answers, *most]:
            onnx(network, answers, *map(float, most))
        case _:
            sys.exit(__doc__)
