"""Local data are worked on without a network: nothing is asked, nothing is told to anybody."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images


def test_a_run_on_local_files_opens_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    def within(name: str) -> Callable[..., Any]:
        """Only between processes of this machine: `di.stats()` hears of its children so."""
        real = getattr(socket.socket, name)

        def call(self: socket.socket, *args: Any) -> Any:
            return real(self, *args) if self.family == socket.AF_UNIX else refuse()

        return call

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, within(name))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(AssertionError, match="a connection"):
        socket.create_connection(("127.0.0.1", 9))
    make_images(tmp_path / "pictures", 4, broken=1)
    frame = di.read_images(tmp_path / "pictures", on_error="null")
    frame = frame.assign(
        small=frame.image.img.convert("RGB").img.resize(16, 16), light=frame.image.img.brightness()
    )
    with di.stats() as stats:
        result = frame.img.write_parquet(tmp_path / "out", errors=tmp_path / "errors.parquet")
        assert sum(len(batch["light"]) for batch in frame.dropna().img.iter_batches()) == 4
    assert (result.rows, result.failed) == (5, 1)
    assert stats.failed
    assert len(pd.read_parquet(tmp_path / "out")) == 5
