"""Clean a collection: an audit page, the pictures worth keeping as Parquet, and what was dropped.

Without --images: the photographs of groceries beside the project where they are, else real
photographs with faults planted among them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import dask
from photographs import save_photographs
from PIL import Image, ImageEnhance, ImageFilter
from running import parser, start

import daskimg as di

SHARED = Path(os.environ.get("DASKIMG_SHARED", Path(__file__).resolve().parents[2] / "shared"))
GROCERY = SHARED / "data" / "grocery"
#: A picture with one of these is dropped, beside all but the best of look-alikes.
FAULTS = ("broken", "dark", "bright", "low_contrast", "blurred", "low_information")


def save_faulty(folder: Path) -> Path:
    """Photographs, and copies of one of them with a fault each."""
    save_photographs(folder)
    with Image.open(folder / "coffee.jpg") as photo:
        photo.load()
    photo.save(folder / "coffee_again.jpg", quality=50)
    photo.resize((photo.width // 2, photo.height // 2)).save(folder / "coffee_half.png")
    ImageEnhance.Brightness(photo).enhance(0.15).save(folder / "coffee_dark.jpg")
    ImageEnhance.Contrast(photo).enhance(0.05).save(folder / "coffee_pale.jpg")
    photo.filter(ImageFilter.GaussianBlur(8)).save(folder / "coffee_blurred.jpg")
    Image.new("RGB", photo.size, (40, 90, 160)).save(folder / "blank.png")
    data = (folder / "coffee.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 3])
    return folder


def run(options: argparse.Namespace) -> Sequence[Path]:
    """Look at each picture once; then what is worth keeping is copied, byte by byte."""
    output: Path = options.output
    root = options.images
    if root is None:
        root = str(GROCERY if GROCERY.is_dir() else save_faulty(output / "photographs"))
    df = di.read_images(root, on_error="null", include_paths=True)
    audit = df.img.audit(label=options.label, split=options.split).persist()
    page = Path(audit.report(output / "audit.html"))
    table = audit.table
    faulty = table[list(FAULTS)].any(axis=1)
    worse = table["group"].notnull() & ~table["best"]
    dropped = table[faulty | worse][["path", "issues", "reason", "group"]]
    kept = table[~(faulty | worse)]
    kept = kept.assign(image=kept["image"].img.read())
    result, gone = dask.compute(
        kept.img.write_parquet(output / "kept", mode="overwrite", compute=False), dropped
    )
    listed = output / "dropped.csv"
    gone.to_csv(listed, index=False)
    print(f"{result.rows:,} pictures kept, {len(gone):,} dropped")
    return [page, output / "audit.drop.txt", output / "kept", listed]


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, "demo-curation")
    options.add_argument("--images", help="folder or glob of pictures")
    options.add_argument("--label", help="the column that is a picture's class")
    options.add_argument("--split", help="the column that says what a picture is for")
    return start(run, options.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
