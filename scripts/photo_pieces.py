"""Cuts the colour photographs that scikit-image and scikit-learn ship into square pieces, a class for each photograph.

    pip download --no-deps -d WHEELS scikit-image scikit-learn     # and pip install pillow
    python scripts/photo_pieces.py WHEELS FOLDER [SIDE]

reads the photographs out of the packages as they are downloaded, and writes FOLDER/PHOTOGRAPH/NNN.png: at most thirty pieces of
SIDE × SIDE pixels (96 where nothing is said) of each of ten photographs, spread evenly over the photograph.
"""
import io
import sys
import zipfile
from pathlib import Path

from PIL import Image

NAMES = "astronaut chelsea coffee hubble_deep_field ihc motorcycle_left retina rocket china flower".split()
MOST = 30


def main(wheels, folder, side=96):
    side = int(side)
    for wheel in sorted(Path(wheels).glob("scikit*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                name = Path(member).stem
                if name not in NAMES or Path(member).suffix not in (".png", ".jpg"):
                    continue
                picture = Image.open(io.BytesIO(archive.read(member))).convert("RGB")
                width, height = picture.size
                corners = [(x, y) for y in range(0, height - side + 1, side) for x in range(0, width - side + 1, side)]
                most = min(MOST, len(corners))
                to = Path(folder) / name
                to.mkdir(parents=True)
                for i in range(most):
                    x, y = corners[i * len(corners) // most]
                    picture.crop((x, y, x + side, y + side)).save(to / f"{i:03}.png")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) in (3, 4) else sys.exit(__doc__)
