"""Real pictures for the examples, out of the photographs inside scikit-image's wheel.

Nothing is fetched. Every call writes the same pixels. What a model is trained on and what it is
tried on come from different parts of a photograph.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from demo_catalogue import photograph
from PIL import Image, ImageEnhance, ImageOps

TEXTURES = {
    "brick": "brick.png",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "stars": "hubble_deep_field.jpg",
}
PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
#: Parts of the photograph of coins that no model is trained on: name, box, scale.
OTHERS = (
    ("right", (240, 0, 384, 303), 1.0),
    ("right-large", (245, 10, 380, 150), 1.5),
    ("right-small", (240, 140, 384, 303), 0.8),
)


def save_photographs(folder: Path) -> Path:
    """Six photographs as JPEG. The astronaut is there three times: as it is, half the size and
    mirrored, and on its side with an EXIF note that says so."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        photograph(name).save(folder / f"{Path(name).stem}.jpg", quality=95)
    astronaut = photograph("astronaut.png")
    ImageOps.mirror(astronaut.resize((256, 256))).save(folder / "astronaut_mirrored.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: a reader has to turn it back
    turned = astronaut.transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "astronaut_turned.jpg", quality=95, exif=exif)
    return folder


def save_textures(folder: Path, each: int) -> tuple[Path, Path]:
    """Folders `train` and `held-out`, in each a folder for every label of `TEXTURES`.

    `each` crops of many sizes to train on come from the left of a photograph, a third as many
    from its right.
    """
    draw = np.random.default_rng(0)
    for label, name in TEXTURES.items():
        photo = photograph(name).convert("RGB")
        border = photo.width * 3 // 5
        left = photo.crop((0, 0, border, photo.height))
        right = photo.crop((border, 0, photo.width, photo.height))
        for part, source, count in (("train", left, each), ("held-out", right, max(1, each // 3))):
            into = folder / part / label
            into.mkdir(parents=True, exist_ok=True)
            for n, crop in enumerate(crops(source, count, 80, 160, draw)):
                crop.save(into / f"{n:03d}.jpg", quality=90)
    return folder / "train", folder / "held-out"


def crops(
    photo: Image.Image, count: int, smallest: int, largest: int, draw: np.random.Generator
) -> Iterator[Image.Image]:
    """Squares of random places and sizes, some lighter, some darker."""
    for _ in range(count):
        side = int(draw.integers(smallest, largest + 1))
        x, y = draw.integers(0, [photo.width - side + 1, photo.height - side + 1])
        square = photo.crop((int(x), int(y), int(x) + side, int(y) + side))
        yield ImageEnhance.Brightness(square).enhance(float(draw.uniform(0.7, 1.3)))


def save_people(path: Path) -> Path:
    """A hundred small portraits on one sheet: those of Labeled Faces in the Wild in the wheel."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the portraits come with scikit-image: pip install scikit-image")
    faces = np.load(Path(spec.submodule_search_locations[0], "data", "lfw_subset.npy"))[:100]
    side, border = 100, 20
    sheet = Image.new("L", (10 * (side + 2 * border), 10 * (side + 2 * border)), 128)
    for n, face in enumerate(faces):
        portrait = Image.fromarray(np.rint(face * 255).astype(np.uint8))
        portrait = portrait.resize((side, side), Image.Resampling.BICUBIC)
        row, column = divmod(n, 10)
        corner = [place * (side + 2 * border) + border for place in (column, row)]
        sheet.paste(portrait, (corner[0], corner[1]))
    sheet.save(path)
    return path


def save_coins(folder: Path, count: int) -> tuple[Path, Path, Path]:
    """Folders of pictures to train on, of masks, and of other pictures; coins on dark cloth.

    `count` squares come from the left of the photograph, the other pictures from its right. The
    masks are those of scikit-image's tutorial on segmentation by regions: a watershed of the
    gradient, from what is surely cloth and what is surely coin.
    """
    from scipy.ndimage import binary_fill_holes
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    photo = photograph("coins.png")
    grey = np.asarray(photo)
    sure = np.where(grey > 150, 2, np.where(grey < 30, 1, 0))
    coins = binary_fill_holes(watershed(sobel(grey), sure) == 2)
    mask = Image.fromarray(coins.astype(np.uint8) * 255)
    draw = np.random.default_rng(0)
    images, masks, others = folder / "images", folder / "masks", folder / "others"
    for made in (images, masks, others):
        made.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        side = int(draw.integers(80, 150))
        x, y = (int(at) for at in draw.integers(0, [240 - side, photo.height - side]))
        box = (x, y, x + side, y + side)
        light = ImageEnhance.Brightness(photo.crop(box)).enhance(float(draw.uniform(0.7, 1.4)))
        light.save(images / f"left-{n:03d}.jpg", quality=92)
        mask.crop(box).save(masks / f"left-{n:03d}.png")
    for name, box, scale in OTHERS:
        size = round((box[2] - box[0]) * scale), round((box[3] - box[1]) * scale)
        photo.crop(box).resize(size).save(others / f"{name}.jpg", quality=92)
        mask.crop(box).resize(size).save(masks / f"{name}.png")
    return images, masks, others
