"""Damaged shards among whole ones: the rows of the others are there, or an error names the file."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images
from tests.amount import amount
from tests.safety.damage import mutated

ROWS, CASES = 6, amount("DASKIMG_FUZZ_SHARDS", 20, 200)
MOST_MEMORY = 400 * 2**20
READ = {
    "npy": di.read_numpy,
    "npz": di.read_numpy,
    "tfrecords": di.read_tfrecords,
    "tfrecords.gz": di.read_tfrecords,
    "webdataset": di.read_webdataset,
}


def shards(kind: str, folder: Path) -> list[Path]:
    """Two whole shards, the first and the last by name."""
    if kind in ("npy", "npz"):
        for number, name in enumerate("az"):
            pixels = np.full((ROWS, 6, 5, 3), 9 * number, np.uint8)
            target = folder / f"{name}.{kind}"
            np.save(target, pixels) if kind == "npy" else np.savez(target, image=pixels)
    else:
        for name in "az":
            make_images(folder / name, ROWS, size=(8, 10), formats=["png"], seed=ord(name))
            frame = di.read_images(folder / name)
            how = {"compression": "GZIP"} if kind.endswith("gz") else {}
            write = getattr(frame.img, f"write_{kind.removesuffix('.gz')}")
            (file,) = write(folder / f"{name}-out", **how).files
            Path(file).rename(folder / f"{name}{Path(file).suffix}")
    return sorted(path for path in folder.iterdir() if path.is_file())


def pictures(frame: pd.DataFrame) -> list[bytes | None]:
    """The content of each cell: bytes, or pixels."""
    column = next(name for name in frame if isinstance(frame[name].dtype, di.ImageDtype))
    cells, null = frame[column], frame[column].isna()
    content = "to_numpy" if cells.dtype.holds_pixels else "to_bytes"
    return [
        None if bad else bytes(getattr(cell, content)())
        for cell, bad in zip(cells, null, strict=True)
    ]


@pytest.mark.sampled
@pytest.mark.parametrize("kind", READ)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_shards(kind, tmp_path):
    one, other = shards(kind, tmp_path)
    read = READ[kind]
    wanted = pictures(read([str(one), str(other)]).compute(scheduler="sync"))
    assert len(wanted) == 2 * ROWS
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    rng, whole = np.random.default_rng(len(kind)), one.read_bytes()
    refused: list[tuple[str, str]] = []
    for case in range(CASES):
        bad = tmp_path / f"m-{case}{one.suffix}"
        bad.write_bytes(mutated(whole, b"nothing" * 200, rng))
        try:
            frame = read([str(one), str(bad), str(other)], on_error="null")
            found = pictures(frame.compute(scheduler="sync"))
        except ValueError as error:  # what it claims to hold differs from the others
            refused.append((bad.name, str(error)))
        else:
            assert found[:ROWS] == wanted[:ROWS]
            assert found[-ROWS:] == wanted[-ROWS:]
        bad.unlink()
    assert [told for name, told in refused if name not in told] == []
    assert len(refused) < CASES // 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MOST_MEMORY
