"""The limit: the same work by the fastest calls there are, on two threads, with no framework.

libjpeg-turbo decodes into a buffer that each thread keeps, PyTorch resizes it in place as
channels-last uint8 (Pillow where PyTorch is not installed), a histogram gives mean and standard
deviation. The `pillow_*` loops are what one would write first.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from PIL import Image

SIDE, BATCH, THREADS = 224, 64, 2
TWICE = 2 * SIDE  # a reduced decode keeps at least this
THRICE = 3 * SIDE
ORIENTATION = 0x0112
TURNS = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_270,
    8: Image.Transpose.ROTATE_90,
}
HEAD = 4096
LEVELS = np.arange(256.0)
COLUMNS = ["height", "width", "mean", "std"]

try:
    import torch
except ImportError:
    torch = None


class Scratch(threading.local):
    """Memory that a thread decodes into, picture after picture."""

    memory = np.empty(0, np.uint8)

    def array(self, *shape: int) -> np.ndarray:
        size = int(np.prod(shape))
        if self.memory.size < size:
            self.memory = np.empty(size, np.uint8)
        return self.memory[:size].reshape(shape)


SCRATCH = Scratch()


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Hold PyTorch's own threads to one while the loop's run."""
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_threads(work: Callable[[list[str]], Any], files: Sequence[str]) -> Iterator[Any]:
    """`work` on every 64 files, two at a time, in order."""
    groups = [list(files[k : k + BATCH]) for k in range(0, len(files), BATCH)]
    with one_thread_each(), ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(work, groups)


def read(path: str, most: int | None = None) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, most or os.fstat(handle).st_size)
    finally:
        os.close(handle)


def decode(path: str, least: int = 0) -> np.ndarray:
    """RGB pixels, valid until the thread's next call; above `least`, a reduced scale will do."""
    data = read(path)
    if not data.startswith(b"\xff\xd8"):
        return np.asarray(Image.open(path).convert("RGB"))
    height, width, *_ = simplejpeg.decode_jpeg_header(data, min_height=least, min_width=least)
    buffer = SCRATCH.array(height, width, 3)
    simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least, buffer=buffer)
    return buffer


def resize(pixels: np.ndarray, out: np.ndarray) -> None:
    """Antialiased bilinear, into `out`."""
    if torch is None:
        small = Image.fromarray(pixels).resize(out.shape[1::-1], Image.Resampling.BILINEAR)
        out[...] = np.asarray(small)
        return
    source, target = (torch.from_numpy(a).permute(2, 0, 1)[None] for a in (pixels, out))
    torch.ops.aten._upsample_bilinear2d_aa.out(
        source, list(out.shape[:2]), False, None, None, out=target
    )


def mean_std(pixels: np.ndarray) -> tuple[float, float]:
    """From Pillow's histogram of the bytes: whole numbers, in one call."""
    line = Image.frombuffer("L", (pixels.size, 1), pixels.reshape(-1), "raw", "L", 0, 1)
    counts = np.array(line.histogram(), np.float64)
    mean = float((counts * LEVELS).sum()) / pixels.size
    return mean, max(float((counts * LEVELS**2).sum()) / pixels.size - mean * mean, 0.0) ** 0.5


def small_pictures(files: list[str], least: int = 0) -> np.ndarray:
    out = np.empty((len(files), SIDE, SIDE, 3), np.uint8)
    for path, cell in zip(files, out, strict=True):
        resize(decode(path, least), cell)
    return out


def batches(files: Sequence[str], least: int = 0) -> Iterator[np.ndarray]:
    """Row B, and row E at a reduced scale: arrays of 64 pictures."""
    return in_threads(lambda group: small_pictures(group, least), files)


def upright(files: Sequence[str], least: int = 0) -> Iterator[np.ndarray]:
    """Row L: one array of few large pictures, each turned as its EXIF says when it is small."""
    out = np.empty((len(files), SIDE, SIDE, 3), np.uint8)

    def fill(path: str, cell: np.ndarray) -> None:
        with Image.open(path) as image:
            orientation = image.getexif().get(ORIENTATION, 1)
        small = np.empty_like(cell)
        resize(decode(path, least), small)
        turn = TURNS.get(orientation)
        cell[...] = small if turn is None else np.asarray(Image.fromarray(small).transpose(turn))

    with one_thread_each(), ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fill, files, out))
    yield out


def statistics(files: Sequence[str]) -> pd.DataFrame:
    """Row C: size, mean and standard deviation of the whole pictures."""

    def measure(path: str) -> tuple[float, ...]:
        pixels = decode(path)
        return (*pixels.shape[:2], *mean_std(pixels))

    groups = in_threads(lambda group: [measure(path) for path in group], files)
    return pd.DataFrame([row for group in groups for row in group], columns=COLUMNS)


def headers(files: Sequence[str]) -> pd.DataFrame:
    """Row D: height and width, from the first bytes of each file."""

    def size(path: str) -> tuple[int, int]:
        data = read(path, HEAD)
        if not data.startswith(b"\xff\xd8"):
            return Image.open(path).size[::-1]
        try:
            return simplejpeg.decode_jpeg_header(data)[:2]
        except ValueError:  # a header longer than that
            return simplejpeg.decode_jpeg_header(read(path))[:2]

    groups = in_threads(lambda group: [size(path) for path in group], files)
    return pd.DataFrame([row for group in groups for row in group], columns=COLUMNS[:2])


def parquet(files: Sequence[str], folder: Path, compression: str) -> Path:
    """Row A: the small pictures with mean and standard deviation, a file for every 64."""

    def write(group: list[str]) -> None:
        pixels = small_pictures(group)
        figures = np.array([mean_std(picture) for picture in pixels])
        kind = pa.fixed_shape_tensor(pa.uint8(), pixels.shape[1:])
        cells = pa.FixedSizeListArray.from_arrays(pixels.reshape(-1), pixels[0].size)
        arrays = {
            "path": pa.array(group),
            "image": pa.ExtensionArray.from_storage(kind, cells),
            "mean": figures[:, 0],
            "std": figures[:, 1],
        }
        name = f"{Path(group[0]).stem}-{threading.get_ident()}-{len(os.listdir(folder))}.parquet"
        pq.write_table(pa.table(arrays), folder / name, compression=compression)

    for _ in in_threads(write, files):
        pass
    return folder


def pillow_batches(files: Sequence[str]) -> Iterator[np.ndarray]:
    def small(path: str) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))

    return in_threads(lambda group: np.stack([small(path) for path in group]), files)


def pillow_statistics(files: Sequence[str]) -> pd.DataFrame:
    def measure(path: str) -> tuple[float, ...]:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        return (*pixels.shape[:2], pixels.mean(), pixels.std())

    groups = in_threads(lambda group: [measure(path) for path in group], files)
    return pd.DataFrame([row for group in groups for row in group], columns=COLUMNS)


def pillow_headers(files: Sequence[str]) -> pd.DataFrame:
    def size(path: str) -> tuple[int, int]:
        with Image.open(path) as image:
            return image.size[::-1]

    groups = in_threads(lambda group: [size(path) for path in group], files)
    return pd.DataFrame([row for group in groups for row in group], columns=COLUMNS[:2])
