"""A local file in few system calls is the whole file, whatever its size and its end."""

from __future__ import annotations

import os

import pytest

from daskimg.errors import TooManyBytesError
from daskimg.transport import disk, fetch

END = b"\xff\xd9"
SIZES = [0, 1, 2, 3, disk.FIRST - 1, disk.FIRST, disk.FIRST + 1, 2 * disk.FIRST, 3_000_001]


@pytest.mark.parametrize("end", [b"", END, END + b"\0"], ids=["other", "jpeg", "behind a jpeg"])
@pytest.mark.parametrize("size", SIZES)
def test_all_of_it(tmp_path, size, end):
    data = os.urandom(size)[: max(size - len(end), 0)] + end
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    assert fetch.read_bytes(str(path)) == data


@pytest.mark.parametrize("short", [1, 7, 4096])
def test_reads_that_give_less_than_they_could(tmp_path, monkeypatch, short):
    data = os.urandom(9_001) + END
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    read = os.read
    monkeypatch.setattr(fetch.os, "read", lambda handle, n: read(handle, min(n, short)))
    assert fetch.read_bytes(str(path)) == data


@pytest.mark.parametrize("most", [1, 99, 100, 101, disk.FIRST, 10 * disk.FIRST])
@pytest.mark.parametrize("size", [100, disk.FIRST + 5])
@pytest.mark.parametrize("end", [b"..", END])
def test_no_more_than_may_be(tmp_path, monkeypatch, most, size, end):
    data = os.urandom(size - 2) + end
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    asked = []
    read = os.read
    monkeypatch.setattr(fetch.os, "read", lambda handle, n: asked.append(n) or read(handle, n))
    if size > most:
        with pytest.raises(TooManyBytesError):
            fetch.read_bytes(str(path), max_bytes=most)
    else:
        assert fetch.read_bytes(str(path), max_bytes=most) == data
    assert max(asked) <= most


def test_a_pipe_is_empty(tmp_path):
    path = tmp_path / "a.jpg"
    os.mkfifo(path)
    assert fetch.read_bytes(str(path)) == b""


def test_a_jpeg_costs_three_calls(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"\xff\xd8" + bytes(1000) + END)
    asked, of, fstat = [], [], os.fstat
    monkeypatch.setattr(os, "fstat", lambda handle: asked.append(handle) or fstat(handle))
    close = os.close
    monkeypatch.setattr(os, "close", lambda handle: of.append(handle) or close(handle))
    assert len(fetch.read_bytes(str(path))) == 1004
    monkeypatch.undo()
    assert of
    assert not {*of} & {*asked}
