"""Writers that are killed: nothing half written counts, and another run goes on where one died."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import dask
import distributed  # noqa: F401  (children have it then: Dask imports it when it first computes)
import numpy as np
import pytest

import daskimg as di
from daskimg.testing import make_images
from tests.amount import amount

PARTITIONS, PICTURES = 12, 24
WRITERS = ("write_parquet", "write_numpy", "write_images")
MOMENTS = [(WRITERS[n % 3], n) for n in range(amount("DASKIMG_KILLS", 3, 20))]

# Children are forked from one process that imported everything and has no threads.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

seen: list[int] = []  # pictures that went through this process


def slow(pixels: np.ndarray) -> np.ndarray:
    seen.append(1)
    time.sleep(0.008)
    return pixels[::-1]


def write(writer: str, pictures: str, place: str, mode: str = "error") -> di.WriteResult:
    df = di.read_images(pictures, files_per_partition=PICTURES // PARTITIONS)
    image = df.image.img.decode("RGB").img.apply(slow, dtype="image[uint8, 8x10x3]")
    with dask.config.set(scheduler="threads", num_workers=2):
        return getattr(df.assign(image=image).img, writer)(place, mode=mode)


def write_until(writer: str, pictures: str, place: str, call: str, last: int) -> None:
    """Write, and die before the `last` call of ``os.replace`` or ``os.remove``."""
    real, calls = getattr(os, call), []

    def deadly(*args: object, **kwargs: object) -> None:
        calls.append(args)
        if len(calls) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*args, **kwargs)

    setattr(os, call, deadly)
    write(writer, pictures, place)


def files(place: Path) -> dict[str, bytes]:
    found = (path for path in place.rglob("*") if path.is_file())
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in found}


def make(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    make_images(folder, PICTURES, size=(8, 10), formats=["png"])
    return str(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> str:
    return make(tmp_path_factory)


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    """The files of a run that nobody disturbed."""

    @functools.cache
    def files_of(writer: str) -> dict[str, bytes]:
        place = tmp_path_factory.mktemp("whole") / "out"
        assert write(writer, pictures, str(place)).rows == PICTURES
        return files(place)

    return files_of


def tickets(place: Path) -> list[Path]:
    return list(place.glob("_daskimg/run-*/[0-9]*.json"))


def check(writer: str, pictures: str, place: Path, whole: dict[str, bytes]) -> None:
    """What a killed run left, and that the same call goes on from there."""
    left = files(place)
    for name, data in left.items():
        if not name.startswith("_daskimg/"):
            assert data == whole[name], f"{name} is half a file"
    if "_daskimg/_SUCCESS" in left:
        committed = {name for name in left if not name.startswith("_daskimg/run-")}
        assert committed == set(whole)
    elif writer == "write_parquet" and left:
        with pytest.raises(ValueError, match="never finished"):
            di.read_parquet(place)
    done = PARTITIONS if "_daskimg/manifest.json" in left else len(tickets(place))
    seen.clear()
    assert write(writer, pictures, str(place), mode="resume").rows == PICTURES
    assert len(seen) == (PARTITIONS - done) * (PICTURES // PARTITIONS)
    assert files(place) == whole


def kill_some_time(process, seed: int, tickets) -> None:
    """Start a writing process and kill it when some partitions are done, and a moment later.

    (On a busy machine it may have ended before.)
    """
    rng = random.Random(seed)
    finished, later = rng.randrange(PARTITIONS), rng.uniform(0, 0.02)
    process.start()
    try:
        while process.is_alive() and len(tickets()) < finished:
            time.sleep(0.001)
        time.sleep(later)
    finally:
        process.kill()
        process.join()


@pytest.mark.sampled
@pytest.mark.parametrize("writer, seed", MOMENTS)
def test_killed_at_any_moment(writer, seed, pictures, whole, tmp_path):
    expected, place = whole(writer), tmp_path / "out"
    process = processes.Process(target=write, args=(writer, pictures, str(place)))
    kill_some_time(process, seed, lambda: tickets(place))
    check(writer, pictures, place, expected)


@pytest.mark.sampled(one_in=5)
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "call, last",
    [("replace", 1), ("replace", -5), ("replace", -2), ("replace", -1), ("remove", 5)],
)
def test_killed_in_the_commit(writer, call, last, pictures, whole, tmp_path):
    expected, place = whole(writer), tmp_path / "out"
    if last < 0:  # each file, ticket, published file, then manifest and mark, are renamed
        data = sum(not name.startswith("_daskimg/") for name in expected)
        last += 2 * data + PARTITIONS + 3
    process = processes.Process(target=write_until, args=(writer, pictures, str(place), call, last))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    check(writer, pictures, place, expected)
