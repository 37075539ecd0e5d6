"""Decompression bombs: small files of huge pictures fail before memory is allocated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import daskimg as di
from daskimg.errors import TooManyPixelsError
from daskimg.kernels import codec, headers
from tests.patience import PATIENCE
from tests.safety.bombs import bombs, most_memory, tiff

GIGABYTE = 2**30
HARMLESS = {"text.png"}  # the picture is 4 x 4; what is large is never unpacked

# What runs in a process of its own: its result, and the most memory it has held.
PROGRAM = """
import json, resource, sys
import daskimg as di
from tests.safety.bombs import most_memory
frame = di.read_images(sys.argv[1], on_error="null")
img = frame.image.img
frame = frame.assign(why=img.check(), mean=img.mean(), height=img.height, small=img.resize(4, 4))
frame = frame.assign(part=img.decode(truncated="partial"))
found = frame.compute(scheduler=sys.argv[2])
whys = dict(zip([p.rsplit("/", 1)[1] for p in found.path], found.why.astype(object)))
whys = {k: v if isinstance(v, str) else None for k, v in whys.items()}
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps([whys, most_memory() if sys.argv[2] != "processes" else children]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bombs")
    for name, data in bombs().items():
        (folder / name).write_bytes(data)
    return folder


def judge(whys: dict[str, str | None]) -> None:
    assert set(whys) == set(bombs())
    for name, why in whys.items():
        if name in HARMLESS:
            assert why is None or why.startswith("decode: ")
        else:
            assert why is not None
            assert why.startswith("decode: TooManyPixelsError: the header announces"), name


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("scheduler", ["sync", "threads", "processes"])
def test_memory_stays_small(folder, scheduler):
    command = [sys.executable, "-c", PROGRAM, str(folder), scheduler]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=root
    )
    assert done.returncode == 0, done.stderr
    whys, most = json.loads(done.stdout)
    judge(whys)
    assert most < GIGABYTE


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_workers_stays_small(client, folder):
    frame = di.read_images(folder, on_error="null", files_per_partition=2)
    img = frame.image.img
    found = frame.assign(why=img.check(), small=img.resize(4, 4), height=img.height).compute()
    names = found.path.str.rsplit("/", n=1).str[1]
    judge(dict(zip(names, found.why.astype(object).where(found.why.notna(), None), strict=True)))
    assert all(most < GIGABYTE for most in client.run(most_memory).values())


@pytest.mark.parametrize("side", [13_500, 40_000, 60_000])
def test_a_tile_larger_than_its_picture_is_no_way_round(side):
    """libtiff allocates a whole tile, whatever the size of the picture."""
    with pytest.raises(TooManyPixelsError, match=f"{side} x {side}"):
        codec.decode(tiff(64, 64, tile=side))
    assert headers.read_header(tiff(64, 64, tile=256))[:2] == (64, 64)


@pytest.mark.long
def test_a_picture_as_large_as_allowed_is_not_refused():
    assert headers.read_header(bombs()["pixels.png"], max_pixels=None)[:2] == (60_000, 60_000)
