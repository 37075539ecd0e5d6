"""However many columns are derived from a picture, it is opened once and decoded once."""

from __future__ import annotations

import gc
import os
import shutil
import weakref
from typing import Any

import dask
import numpy as np
import pytest

import daskimg as di
from daskimg.kernels import codec
from daskimg.testing import assert_images_equal, make_images
from daskimg.transport import fetch
from tests.lazy.cases import CASES, measured, merged
from tests.lazy.frames import ROWS, counted, eager, lazy, plain

BELOW_BEST = {name: cost for name, (_, cost) in CASES.items() if cost.now != cost.best}


def computed(x: Any) -> Any:
    """The values of whatever a case returned."""
    if isinstance(x, list):
        return [computed(y) for y in x]
    # (to ask for its `dask` is to make a graph: a sort would look at its keys)
    return x.compute() if hasattr(x, "compute") else x


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
@pytest.mark.parametrize("name", CASES)
def test_case(name, scheduler, paths, tmp_path):
    # Dask remembers the quantiles of a sort by name: each run has files of its own
    shutil.copytree(os.path.dirname(paths[0]), tmp_path / "own")
    paths = [str(tmp_path / "own" / os.path.basename(path)) for path in paths]
    pipeline, cost = CASES[name]
    wanted = plain(pipeline(eager(paths)))
    with dask.config.set(scheduler=scheduler), counted() as counts:
        found = plain(computed(pipeline(lazy(paths))))
    assert found == wanted
    assert counts["decode"] == cost.now
    assert counts["fetch"] == counts["decode"], "each picture decoded was fetched once"


def test_only_known_cases_cost_more_than_the_best():
    assert set(BELOW_BEST) == {
        "merge, then filter by an unkept measure",
        "merge, filter by an unkept measure, op",
        "repartition between",
    }
    assert all(cost.why for cost in BELOW_BEST.values())


# -- what opens nothing, or headers only --------------------------------------------------------
UNOPENED = {
    "len": lambda d: len(measured(d, "m", "t", "h")),
    "paths": lambda d: measured(d, "m", "h")[["path"]].compute(),
    "groupby": lambda d: measured(d, "m").groupby("label").price.sum().compute(),
    "image column": lambda d: d[["image"]].compute(),
    "recorded": lambda d: d.assign(e=d.image.img.error, f=d.image.img.failed).compute(),
    "path": lambda d: d.assign(p=d.image.img.path).compute(),
}


@pytest.mark.parametrize("name", UNOPENED)
def test_opens_no_picture(name, paths, one_thread):
    with counted() as counts:
        UNOPENED[name](lazy(paths))
    assert counts == {"fetch": 0, "header": 0, "decode": 0}


def test_header_columns_read_headers_only(paths, one_thread):
    frame = lazy(paths)
    img = frame.image.img
    frame = frame.assign(h=img.height, w=img.width, c=img.channels, mode=img.mode, f=img.format)
    with counted() as counts:
        frame.compute()
    assert counts == {"fetch": 0, "header": ROWS, "decode": 0}


def test_a_header_beside_pixels_comes_from_the_bytes_fetched(paths, one_thread, monkeypatch):
    opened = []
    head, read = fetch.open_head, fetch.read_bytes
    monkeypatch.setattr(fetch, "open_head", lambda *a, **k: opened.append(a[0]) or head(*a, **k))
    monkeypatch.setattr(fetch, "read_bytes", lambda *a, **k: opened.append(a[0]) or read(*a, **k))
    monkeypatch.setattr(fetch, "size", lambda *a, **k: pytest.fail("asked for a size"))
    frame = lazy(paths)
    img = frame.image.img
    frame.assign(h=img.height, n=img.nbytes, m=img.mean(), e=img.read()).compute()
    assert sorted(opened) == sorted(paths)


def test_a_listing_counts_and_sizes_without_opening(tmp_path, one_thread):
    make_images(tmp_path, 6, size=(8, 8))
    with counted() as counts:
        frame = di.read_images(tmp_path, files_per_partition=2)
        frame = frame.assign(m=frame.image.img.mean())
        assert len(frame) == 6
        assert frame[["path"]].compute().path.str.endswith(("jpg", "png")).all()
    assert counts == {"fetch": 0, "header": 0, "decode": 0}


# -- one pass where a user would expect it ------------------------------------------------------
def five(frame):
    """Five columns of one image column: measures, a header field, a resize, a hash."""
    img = frame.image.img
    return frame.assign(
        m=img.mean(), b=img.brightness(), w=img.width, t=img.resize(6, 6), p=img.hash()
    )


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_five_columns_open_each_file_once(paths, scheduler):
    with dask.config.set(scheduler=scheduler), counted() as counts:
        found = five(lazy(paths)).compute()
    assert counts["fetch"] == counts["decode"] == ROWS
    wanted = five(eager(paths))
    assert plain(found) == plain(wanted)
    assert_images_equal(found.t, wanted.t)


def where(frame, test):
    """The rows that pass."""
    return frame[test(frame)]


def good(frame):
    """The rows whose picture decodes."""
    return frame[frame.image.img.check().isna()]


def label_a(frame):
    """Five of the twenty rows."""
    return frame[frame.label == "a"]


def bright(frame):
    """By a measure that nobody keeps."""
    return frame[frame.image.img.mean() > 100]


SHARED = {
    "check beside measures": (
        lambda d: d.assign(c=d.image.img.check(), m=d.image.img.mean()),
        ROWS,
    ),
    "survivors of check": (lambda d: measured(good(d), "m", "t"), ROWS),
    "survivors of a check column": (
        lambda d: (
            d.assign(c=d.image.img.check())
            .pipe(where, lambda x: x.c.isna())
            .pipe(measured, "m", "h")
        ),
        ROWS,
    ),
    "survivors, with a row-wise argument": (lambda d: measured(good(d), "c", "m"), ROWS),
    "two policies of one op": (
        lambda d: d.assign(
            a=d.image.img.resize(6, 6),
            b=d.image.img.resize(6, 6).img.on_error("null"),
            m=d.image.img.mean(),
        ),
        ROWS,
    ),
    "row-wise arguments that are computed": (
        lambda d: d.assign(
            c=d.image.img.crop(d.price // 4, 0, 2, 2), u=d.image.img.crop(d.price // 2, 0, 2, 2)
        ),
        ROWS,
    ),
    "column by column, as in notebooks": (
        lambda d: (
            d.assign(m=d.image.img.mean())
            .pipe(lambda x: x.assign(s=x.image.img.std()))
            .pipe(lambda x: x.assign(r=x.m / x.s))
            .pipe(lambda x: x.assign(t=x.image.img.resize(6, 6)))
        ),
        ROWS,
    ),
    "measures()": (lambda d: d.image.img.measures(["mean", "std", "height"]), ROWS),
    # filters on the table and on headers come first, wherever they are written
    "scaled measures, table": (
        lambda d: label_a(d.assign(s=d.image.img.mean() / 255)),
        5,
    ),
    "a constant beside a measure, table": (
        lambda d: label_a(d.assign(k=1, m=d.image.img.mean())),
        5,
    ),
    "table, bright": (lambda d: bright(label_a(d)), 5),
    "table, bright, projection": (lambda d: bright(label_a(d))[["id"]], 5),
    "bright, table": (lambda d: label_a(bright(d)), 5),
    "bright and table, ops": (
        lambda d: measured(d[(d.image.img.mean() > 100) & (d.label == "a")], "s", "t"),
        5,
    ),
    "table, good, ops": (lambda d: measured(good(label_a(d)), "m", "t"), 5),
    "good, table, ops": (lambda d: measured(label_a(good(d)), "m", "t"), 5),
    "good, ops, table": (lambda d: label_a(measured(good(d), "m")), 5),
    "good, ops, bright by the op": (
        lambda d: measured(good(d), "m").pipe(where, lambda x: x.m > 100),
        ROWS,
    ),
    "header, bright": (lambda d: bright(d[d.image.img.height == 9]), 6),
    "bright and header": (
        lambda d: d[(d.image.img.mean() > 100) & (d.image.img.height == 9)],
        6,
    ),
    "measure kept, measure, table": (
        lambda d: label_a(measured(d, "m").pipe(where, lambda x: x.m > 100)),
        5,
    ),
    "a measure of the rows of a label": (lambda d: label_a(measured(d, "m")).m, 5),
    "a measure, by a filter of the frame before": (
        lambda d: measured(d, "m")[d.label == "a"].m,
        5,
    ),
    # joins run on paths
    "a join, then measures, then a filter on the table": (
        lambda d: measured(merged(d), "m", "s").pipe(where, lambda x: x.sold > 2),
        2,
    ),
    "a join, then good": (lambda d: good(merged(d)), 4),
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", SHARED)
def test_shared_pass(name, paths, one_thread):
    pipeline, decodes = SHARED[name]
    wanted = plain(pipeline(eager(paths)))
    with counted() as counts:
        found = plain(pipeline(lazy(paths)).compute())
    assert found == wanted
    assert counts["decode"] == counts["fetch"] == decodes


def merges(expr) -> int:
    """Distinct merges of a tree."""
    return len({node._name for node in expr.walk() if "Merge" in type(node).__name__})


@pytest.mark.parametrize("name", [name for name in CASES if "merge" in name])
def test_no_merge_is_written_twice(name, paths):
    frame = CASES[name][0](lazy(paths))
    assert merges(frame.simplify().expr) == merges(frame.expr) == 1


def test_survivors_of_a_measure_above_a_merge_keep_one_merge(paths, one_thread):
    def pipeline(d):
        d = merged(d, "left")
        d = d[d.image.img.check().isna()]
        return measured(d, "m", "t")

    frame = pipeline(lazy(paths))
    assert merges(frame.simplify().expr) == 1
    assert plain(frame.compute()) == plain(pipeline(eager(paths)))


# -- no pixels stay ------------------------------------------------------------------------------
def test_no_decoded_pixels_outlive_their_task(paths, monkeypatch):
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    decode = codec.decode

    def watched(*args, **kwargs):
        nonlocal most
        pixels = decode(*args, **kwargs)
        alive.append(weakref.ref(pixels))
        most = max(most, sum(ref() is not None for ref in alive))
        return pixels

    monkeypatch.setattr(codec, "decode", watched)
    gc.disable()  # nothing may wait for the collector
    try:
        with dask.config.set(scheduler="sync"):
            result = five(lazy(paths)).compute()
        assert len(alive) == ROWS
        assert sum(ref() is not None for ref in alive) == 0
        assert most <= 2, "one picture at a time, and the one before it at most"
    finally:
        gc.enable()
    assert len(result) == ROWS


def test_an_index_is_a_column(paths):
    df = lazy(paths, index="label")
    df = df.assign(m=df.image.img.mean(), where=df.index)
    df = df[df.m > 100][["where", "m"]]
    table = eager(paths, index="label")
    table = table.assign(m=table.image.img.mean(), where=table.index)
    assert plain(df.compute()) == plain(table[table.m > 100][["where", "m"]])
