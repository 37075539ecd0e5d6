"""A gallery: a photograph as it is, and what every op makes of it, on one small PNG.

python examples/gallery.py [docs/gallery.png]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from demo_catalogue import photograph
from PIL import Image, ImageDraw

import daskimg as di

SIDE, COLUMNS, LINE = 96, 8, 14

#: Name to what is done, on `.img` of a column.
OPS: dict[str, Callable[[Any], Any]] = {
    "as it is": lambda image: image.convert("RGB"),
    "resize(32)": lambda image: image.resize(32),
    "resize(fit='pad')": lambda image: image.resize(96, 60, fit="pad"),
    "resize(fit='contain')": lambda image: image.resize(96, 60, fit="contain"),
    "resize(fit='cover')": lambda image: image.resize(96, 60, fit="cover"),
    "crop": lambda image: image.crop(10, 20, 60, 50),
    "center_crop": lambda image: image.center_crop(64, 64),
    "pad": lambda image: image.pad(12, 12, 12, 12),
    "flip": lambda image: image.flip("horizontal"),
    "flip('vertical')": lambda image: image.flip("vertical"),
    "rotate(30)": lambda image: image.rotate(30),
    "convert('L')": lambda image: image.convert("L"),
    "astype('float32')": lambda image: image.astype("float32"),
    "normalize": lambda image: image.normalize(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3)),
    "brightness": lambda image: image.adjust_brightness(1.5),
    "contrast": lambda image: image.adjust_contrast(1.8),
    "saturation": lambda image: image.adjust_saturation(2.5),
    "hue": lambda image: image.adjust_hue(0.3),
    "equalize": lambda image: image.equalize(),
    "blur": lambda image: image.blur(2.5),
    "sharpen": lambda image: image.sharpen(3.0),
    "edges": lambda image: image.edges(50, 150),
    "draw_boxes": lambda image: image.draw_boxes([[24, 4, 62, 46]], ["face"]),
    "draw_mask": lambda image: image.draw_mask(image.convert("L").img.apply(bright), "lime"),
    "encode(quality=5)": lambda image: image.encode("jpeg", quality=5),
    "apply": lambda image: image.apply(lambda pixels: 255 - pixels),
    "random_flip": lambda image: image.random_flip(1.0, key=pd.Series([0])),
    "random_rotation": lambda image: image.random_rotation(40, key=pd.Series([0])),
    "random_crop": lambda image: image.random_crop(60, 60, key=pd.Series([0])),
    "random_resized": lambda image: image.random_resized_crop(
        80, 80, scale=(0.2, 0.6), ratio=(0.8, 1.25), key=pd.Series([0])
    ),
    "color_jitter": lambda image: image.color_jitter(0.6, 0.6, 0.6, 0.2, key=pd.Series([1])),
    "augment": lambda image: image.augment(
        [("random_flip", 1.0), ("random_rotation", 40)], key=pd.Series([0])
    ),
}


def bright(pixels: np.ndarray) -> np.ndarray:
    return pixels > 160


def shown(picture: di.Image) -> Image.Image:
    """On paper: floats from their smallest value to their largest."""
    pixels = picture.to_numpy()
    if pixels.dtype.kind == "f":
        low, high = pixels.min(), pixels.max()
        pixels = ((pixels - low) * (255 / (high - low))).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB")


def gallery() -> Image.Image:
    picture = np.asarray(photograph("astronaut.png").convert("RGB").resize((SIDE, SIDE)))
    column = di.images([picture])
    rows = -(-len(OPS) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIDE + 8), rows * (SIDE + LINE + 8)), "white")
    draw = ImageDraw.Draw(sheet)
    for n, (name, op) in enumerate(OPS.items()):
        x, y = n % COLUMNS * (SIDE + 8) + 4, n // COLUMNS * (SIDE + LINE + 8) + 2
        made = shown(op(column.img).iloc[0])
        made.thumbnail((SIDE, SIDE))
        draw.text((x, y), name, fill="black")
        sheet.paste(made, (x, y + LINE))
    return sheet


def main(path: str = "docs/gallery.png") -> None:
    gallery().quantize(128).save(Path(path), optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
