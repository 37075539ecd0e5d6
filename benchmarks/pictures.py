"""The pictures that are read: a folder's, or photographs made from those in scikit-image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

NEAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "grocery"
CACHE = Path(tempfile.gettempdir()) / "daskimg-benchmarks"
ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
PHOTOGRAPHS = [
    "astronaut.png",
    "coffee.png",
    "chelsea.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
]
LARGE = (3000, 4000)
GRAIN = 8.0  # standard deviation of a phone's sensor noise, about


def list_pictures(folder: Path) -> list[str]:
    """Every picture below `folder`, in the order of `read_images`."""
    found = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(path for path in found if os.path.splitext(path)[1].lower() in ENDINGS)


def find_pictures(folder: str | None, count: int) -> Path:
    """The folder asked for, else the catalogue beside the repository, else `count` made ones."""
    asked = folder or os.environ.get("DASKIMG_BENCH_IMAGES")
    if asked:
        if not list_pictures(Path(asked)):
            raise FileNotFoundError(f"--images: no picture in {asked}")
        return Path(asked)
    return NEAR if NEAR.is_dir() else make_photographs(count)


def make_photographs(count: int) -> Path:
    """Parts of real photographs, of a size that web catalogues have."""
    folder = CACHE / f"photographs-{count}"
    sources = list(list_sources())
    for number, path in _missing(folder, count):
        rng = np.random.default_rng(number)
        image = sources[rng.integers(len(sources))]
        width, height = (int(rng.uniform(0.5, 1) * side) for side in image.size)
        left, top = rng.integers(image.width - width + 1), rng.integers(image.height - height + 1)
        part = image.crop((left, top, left + width, top + height))
        part.thumbnail((600, 600))
        _save(part, path, 85)
    return folder


def make_large(count: int) -> Path:
    """12-megapixel JPEGs: photographs enlarged, with the grain that makes a phone's files large."""
    folder = CACHE / f"large-{count}"
    missing = list(_missing(folder, count))
    if not missing:
        return folder
    noise = np.random.default_rng(0).normal(0, GRAIN, (*LARGE, 3)).astype(np.int16)
    sources = list(list_sources())
    for number, path in missing:
        image = sources[number % len(sources)].resize(LARGE[::-1], Image.Resampling.BICUBIC)
        grain = np.roll(noise, 641 * number, axis=(0, 1))
        pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        _save(Image.fromarray(pixels), path, 90)
    return folder


def make_turned(count: int) -> Path:
    """The large ones as a phone stores them: five of six say in their EXIF that they are turned."""
    folder = CACHE / f"turned-{count}"
    sources = list_pictures(make_large(count))
    for number, path in _missing(folder, count):
        exif = Image.Exif()
        exif[0x0112] = (6, 6, 3, 8, 6, 1)[number % 6]
        block = b"Exif\x00\x00" + exif.tobytes().removeprefix(b"Exif\x00\x00")
        segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
        data = Path(sources[number]).read_bytes()
        path.write_bytes(data[:2] + segment + data[2:])
    return folder


def repeat(files: list[str], count: int, folder: Path) -> Path:
    """A folder of `count` links to `files`, in turn."""
    folder.mkdir()
    for number in range(count):
        path = Path(files[number % len(files)]).resolve()
        (folder / f"{number:06d}{path.suffix}").symlink_to(path)
    return folder


def describe(files: list[str]) -> str:
    """How many pictures, and how large: ``1,430 pictures of 24 KB, 0.12 megapixels``."""
    megapixels = []
    for path in files[:: max(len(files) // 200, 1)]:
        with Image.open(path) as image:
            megapixels.append(image.width * image.height / 1e6)
    kilobytes = np.mean([os.path.getsize(path) for path in files]) / 1000
    return f"{len(files):,} pictures of {kilobytes:,.0f} KB, {np.mean(megapixels):.2f} megapixels"


def list_sources() -> Iterator[Image.Image]:
    """scikit-image's photographs."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    for name in PHOTOGRAPHS:
        with Image.open(folder / name) as image:
            yield image.convert("RGB")


def _missing(folder: Path, count: int) -> Iterator[tuple[int, Path]]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:04d}.jpg"
        if not path.exists():
            yield number, path


def _save(image: Image.Image, path: Path, quality: int) -> None:
    """Under its name only when complete: the folder is used again."""
    unfinished = path.with_suffix(".part")
    image.save(unfinished, "JPEG", quality=quality)
    unfinished.replace(path)
