"""Find the faces in photographs: a table of faces, and the photographs with boxes drawn.

OpenCV's Haar cascades look at each picture in grey, at its full size. Every face is a row of the
table, with its box in pixels and the number of eyes that were found in it; the boxes are drawn on
the pictures in colour, each saved under its own name as PNG.

    python examples/face_detection.py                       # photographs of scikit-image
    python examples/face_detection.py --images holiday/
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
from photographs import save_people, save_photographs
from running import named, parser, start

import daskimg as di


class FaceDetector:
    """Boxes of the faces of grey pictures, and how many eyes each face has."""

    def __init__(self, neighbours: int) -> None:
        import cv2

        folder = Path(cv2.data.haarcascades)
        self.faces = cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_default.xml"))
        self.eyes = cv2.CascadeClassifier(str(folder / "haarcascade_eye.xml"))
        self.neighbours = neighbours

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        boxes = [self.boxes(grey) for grey in batch["grey"]]
        eyes = [
            [len(self.eyes.detectMultiScale(grey[y0:y1, x0:x1])) for x0, y0, x1, y1 in faces]
            for grey, faces in zip(batch["grey"], boxes, strict=True)
        ]
        return {"boxes": boxes, "eyes": eyes}

    def boxes(self, grey: Any) -> list[list[int]]:
        """(x0, y0, x1, y1) of each face, from left to right."""
        found = self.faces.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=self.neighbours)
        return sorted([int(x), int(y), int(x + w), int(y + h)] for x, y, w, h in found)


def detect(frame: dd.DataFrame, neighbours: int) -> dd.DataFrame:
    """`frame` with the boxes of the faces, the eyes in each, and the picture with boxes drawn."""
    grey = frame.assign(grey=frame["image"].img.convert("L"))
    found = grey.img.map_batches(
        FaceDetector,
        columns="grey",
        fn_constructor_args=[neighbours],
        meta={"boxes": list, "eyes": list},
    )
    return found.assign(image=found["image"].img.convert("RGB").img.draw_boxes(found["boxes"]))


def table_of_faces(pictures: pd.DataFrame) -> pd.DataFrame:
    """One row a face, from one row a picture."""
    columns = ["name", "x0", "y0", "x1", "y1", "eyes"]
    rows = [
        [name, *box, count]
        for name, boxes, eyes in pictures.dropna().itertuples(index=False)
        for box, count in zip(boxes, eyes, strict=True)
    ]
    return pd.DataFrame(rows, columns=columns)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, "demo-faces")
    options.add_argument("--images", help="folder of photographs (default: scikit-image's)")
    options.add_argument(
        "--neighbours",
        type=int,
        default=5,
        help="hits that make a face; more: fewer faces that are none (default 5)",
    )
    return start(run, options.parse_args(arguments))


def run(options: argparse.Namespace) -> list[Path]:
    images = options.images
    if images is None:
        images = str(save_photographs(options.output / "photographs"))
        save_people(options.output / "photographs" / "people.png")
    frame = named(di.read_images(images, on_error="null"), images)
    found = detect(frame, options.neighbours)
    drawn, table = options.output / "drawn", options.output / "faces.parquet"
    pictures, written = dask.compute(  # one pass over the pictures
        found[["name", "boxes", "eyes"]],
        found.assign(file=found["name"] + ".png").img.write_images(
            drawn, "image", filename="file", mode="overwrite", compute=False
        ),
    )
    faces = table_of_faces(pictures)
    faces.to_parquet(table, index=False)
    counts = pictures["boxes"].map(len, na_action="ignore")
    for name, count in zip(pictures["name"], counts, strict=True):
        print(f"  {name}: {'not readable' if pd.isna(count) else f'{count:.0f} faces'}")
    print(f"{len(faces):,} faces in {len(pictures):,} pictures; {written}")
    return [table, drawn]


if __name__ == "__main__":
    sys.exit(main())
