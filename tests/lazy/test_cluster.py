"""One pass on a cluster of processes: all of them note in one file what they open."""

from __future__ import annotations

import os
from collections import Counter

import dask
import pytest

from daskimg.kernels import codec
from daskimg.testing import assert_images_equal
from daskimg.transport import fetch
from tests.lazy.cases import measured, merged
from tests.lazy.frames import ROWS, eager, lazy, plain
from tests.lazy.test_one_pass import five, good


def watch(log: str) -> None:
    """Have this process append a line to `log` for each file read and each picture decoded."""
    read, decode = fetch.read_bytes, codec.decode
    note_original = getattr(read, "original", read), getattr(decode, "original", decode)

    def note(line: str) -> None:
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(out, f"{line} {os.getpid()}\n".encode())
        os.close(out)

    def noted_read(path, *args, **kwargs):
        note(f"read {os.path.basename(path)}")
        return note_original[0](path, *args, **kwargs)

    def noted_decode(*args, **kwargs):
        note("decode -")
        return note_original[1](*args, **kwargs)

    noted_read.original, noted_decode.original = note_original
    fetch.read_bytes, codec.decode = noted_read, noted_decode


def unwatch() -> None:
    """Put the functions back."""
    fetch.read_bytes = getattr(fetch.read_bytes, "original", fetch.read_bytes)
    codec.decode = getattr(codec.decode, "original", codec.decode)


@pytest.fixture
def log(client, tmp_path):
    """The file that every worker of the cluster notes its work in."""
    path = str(tmp_path / "log")
    client.run(watch, path)
    yield path
    client.run(unwatch)


def work(log: str) -> tuple[Counter[str], int, set[str]]:
    """Reads of each file, decodes in all, and the processes that did them."""
    with open(log) as file:
        lines = [line.split() for line in file]
    reads = Counter(name for what, name, _ in lines if what == "read")
    return reads, sum(what == "decode" for what, _, _ in lines), {pid for _, _, pid in lines}


def test_five_columns_open_each_file_once(client, log, paths):
    found = five(lazy(paths)).compute()
    reads, decodes, processes = work(log)
    assert reads == {os.path.basename(path): 1 for path in paths}
    assert decodes == ROWS
    assert str(os.getpid()) not in processes
    wanted = five(eager(paths))
    assert plain(found) == plain(wanted)
    assert_images_equal(found.t, wanted.t)


@pytest.mark.long
def test_results_of_one_compute_share_the_pass(client, log, paths):
    frame = lazy(paths)
    first, second = dask.compute(frame.image.img.mean(), measured(frame, "s", "t"))
    reads, decodes, _ = work(log)
    assert set(reads.values()) == {1}
    assert decodes == ROWS
    assert plain(first) == plain(eager(paths).image.img.mean())
    assert plain(second) == plain(measured(eager(paths), "s", "t"))


def test_persist_then_a_join_opens_what_matches(client, log, paths):
    frame = merged(lazy(paths).persist())
    found = measured(frame, "m", "s").compute()
    reads, decodes, _ = work(log)
    assert sum(reads.values()) == decodes == 4
    assert plain(found) == plain(measured(merged(eager(paths)), "m", "s"))


def test_survivors_of_check(client, log, mixed):
    found = measured(good(lazy(mixed)), "m", "t").compute()
    reads, _, _ = work(log)
    assert set(reads.values()) == {1}
    wanted = measured(good(eager(mixed)), "m", "t")
    assert len(found) == 14
    assert plain(found) == plain(wanted)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("by", ["a measure", "the table"])
def test_a_sort_between_an_isin_and_an_op(client, paths, by):
    """Dask asks for divisions while the scheduler, in this process, makes their graph."""

    def query(df):
        values = df.image.img.mean().round(-1) if by == "a measure" else df.price
        df = df[~values.isin([5, 100, 110])].sort_values("id").assign(c=1)
        return df[df.image.img.check().isna()]

    assert plain(query(lazy(paths)).compute()) == plain(query(eager(paths)))
