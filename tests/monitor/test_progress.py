"""`di.progress`: pictures are counted, on threads, in iterators, writers and on a cluster."""

from __future__ import annotations

import re
import sys
from functools import partial
from pathlib import Path

import dask
import dask.dataframe as dd
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.monitor.amount import rows_of
from daskimg.testing import make_images
from tests.patience import until

module = sys.modules["daskimg.monitor.progress"]  # (the function has the same name)
GOOD, BROKEN = 21, 3
ROWS = GOOD + BROKEN


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("some")
    make_images(folder, GOOD, size=(20, 30), broken=BROKEN)
    return folder


@pytest.fixture
def df(folder):
    return di.read_images(folder, on_error="null", files_per_partition=ROWS)


def told(text: str) -> list[str]:
    """The lines that are left on a screen."""
    lines = re.split("[\\r\\n]", text)
    return [line for line in lines if line.strip() and " kept" in line]


def count(df, size=(8, 8)) -> None:
    for _ in df.assign(image=df.image.img.resize(*size)).img.iter_batches(5, on_null="drop"):
        pass


TAKES = {
    "sync": lambda df, out: df.image.img.mean().compute(scheduler="sync"),
    "threads": lambda df, out: df.image.img.mean().compute(scheduler="threads"),
    "a filter": lambda df, out: df[df.image.img.mean() > 0].image.img.std().compute(),
    "iterator": lambda df, out: count(df),
    "Parquet": lambda df, out: df.assign(m=df.image.img.mean()).img.write_parquet(out),
    "pandas": lambda df, out: dask.compute(df)[0].image.img.mean(),
}


@pytest.mark.parametrize("take", TAKES)
def test_a_last_line(df, tmp_path, capsys, take):
    with di.progress():
        TAKES[take](df, tmp_path / "out")
    (line,) = told(capsys.readouterr().err)[-1:]
    assert line.startswith(f"{ROWS} pictures in ")
    assert f": {GOOD} kept, {BROKEN} failed (" in line
    assert "1 truncated" in line
    assert line.endswith(f"; written to {tmp_path / 'out'}") == (take == "Parquet")
    TAKES["threads"](df, None)
    assert capsys.readouterr().err == ""


def test_a_switch(df, capsys):
    di.progress()
    di.progress()  # twice is once
    try:
        df.image.img.mean().compute()
        assert len(told(capsys.readouterr().err)) == 1
    finally:
        di.progress(False)
    df.image.img.mean().compute()
    assert capsys.readouterr().err == ""
    assert metrics.watchers == []


def test_an_error_is_the_end(folder, capsys):
    df = di.read_images(folder, files_per_partition=ROWS)
    with di.progress(), pytest.raises(di.ImageError):
        df.image.img.mean().compute()
    text = capsys.readouterr().err.strip()
    assert text.splitlines()[-1].endswith("then it ended with an error")
    df.image.img.on_error("null").img.mean().compute()
    assert capsys.readouterr().err == ""


def test_a_loop_that_was_left(df, capsys):
    with di.progress():
        for _ in df.dropna().img.iter_batches(2):
            break
        df.image.img.mean().compute()
    assert len(told(capsys.readouterr().err)) == 2


def wait_for(pixels, mark: Path):
    until(mark.exists, "nothing is shown before the partition ends")
    return pixels


class Screen:
    """Standard error that lets the work go on once so many pictures are seen to be done."""

    def __init__(self, mark: Path) -> None:
        self.mark, self.text = mark, ""

    def write(self, text: str) -> None:
        self.text += text
        if re.search(f"[1-9][0-9]* of {ROWS} pictures", self.text):
            self.mark.touch()

    def flush(self) -> None:
        pass


def after_some(pixels, mark: Path, seen: Path):
    """The first three pass at once."""
    if len(list(seen.iterdir())) > 3:
        until(mark.exists, "nothing is shown before the partition ends")
    (seen / str(len(list(seen.iterdir())))).touch()
    return pixels


def moves(df, tmp_path, monkeypatch) -> str:
    """What is shown, where the one partition ends only once pictures of it were seen."""
    screen, seen = Screen(tmp_path / "mark"), tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setattr("sys.stderr", screen)
    with di.progress():
        waits = partial(after_some, mark=screen.mark, seen=seen)
        df.image.img.apply(waits).img.mean().compute()
    return screen.text


def test_it_moves_within_a_partition(df, tmp_path, monkeypatch):
    text = moves(df, tmp_path, monkeypatch)
    assert f"{ROWS} pictures in" in text
    assert "/s" in text


def test_it_moves_on_a_cluster(client, df, tmp_path, monkeypatch):
    text = moves(df, tmp_path, monkeypatch)
    assert f"{ROWS} pictures in" in text
    assert f"{GOOD} kept, {BROKEN} failed" in text


def test_what_is_waited_for(df, tmp_path, monkeypatch):
    assert "waiting for the function of apply" in moves(df, tmp_path, monkeypatch)


# -- by itself ------------------------------------------------------------------------------------
@pytest.fixture
def fresh(monkeypatch):
    """Nobody has said anything yet."""
    monkeypatch.setattr(module, "PATIENCE", 1e-6)
    monkeypatch.setattr(module, "_silenced", [False])
    monkeypatch.delenv("CI", raising=False)
    yield
    di.progress(False)


def shows(df, capsys) -> bool:
    df.image.img.mean().compute(scheduler="sync")
    return bool(told(capsys.readouterr().err))


@pytest.mark.parametrize(
    "wish, terminal, shown",
    [
        ("auto", True, True),
        ("auto", False, False),
        ("on", False, True),
        (True, False, True),
        ("off", True, False),
        (False, True, False),
    ],
)
def test_the_setting(df, capsys, monkeypatch, fresh, wish, terminal, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with dask.config.set({"daskimg.progress": wish}):
        assert shows(df, capsys) == shown
    with dask.config.set({"daskimg.progress": "off"}):
        assert not shows(df, capsys)


def test_not_in_ci_and_not_once_it_is_switched_off(df, capsys, monkeypatch, fresh):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("CI", "true")
    assert not shows(df, capsys)
    monkeypatch.delenv("CI")
    assert shows(df, capsys)
    di.progress(False)
    assert not shows(df, capsys)
    with di.progress():
        assert shows(df, capsys)
    assert not shows(df, capsys)


def test_short_work_is_not_shown_where_nobody_asked(df, capsys, monkeypatch, fresh):
    monkeypatch.setattr(module, "PATIENCE", 100.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert not shows(df, capsys)


def test_a_setting_that_is_none(df, fresh):
    setting = dask.config.set({"daskimg.progress": "maybe"})
    with setting, pytest.raises(ValueError, match="auto or on or off; got 'maybe'"):
        df.image.img.mean().compute()


# -- how many there are ---------------------------------------------------------------------------
def test_rows_of_a_graph(df, tmp_path):
    def rows(frame):
        return rows_of(frame.optimize().dask.values())

    assert rows(df.image.img.mean()) == (True, ROWS)
    assert rows(df.repartition(npartitions=1).partitions[0].image.img.mean()) == (True, ROWS)
    assert rows(dd.from_pandas(pd.DataFrame({"a": [1]}), npartitions=1).a + 1)[0] is False
    df.img.write_parquet(tmp_path / "a")
    assert rows(di.read_parquet(tmp_path / "a").image.img.mean()) == (True, ROWS)
    df.img.write_webdataset(tmp_path / "b")
    df.dropna().image.img.decode("RGB").img.resize(4, 4).to_frame().img.write_numpy(tmp_path / "c")
    assert rows(di.read_numpy(tmp_path / "c").image.img.mean())[0]
    table = pd.DataFrame({"image": di.images(df.path.compute(), on_error="null")})
    assert rows(dd.from_pandas(table, npartitions=2).image.img.mean()) == (True, ROWS)
