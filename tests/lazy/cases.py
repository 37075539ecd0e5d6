"""Pipelines of image and table ops, each with the fewest decodes that it can cost.

Every case is one function, run on the pandas frame (the answer) and on the Dask frame.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import dask
import dask.dataframe as dd
import pandas as pd

from tests.lazy.frames import ROWS, SALES

Frame = Any


class Cost(NamedTuple):
    """Pictures decoded: `best` possible, and what it is today with the reason."""

    best: int
    now: int
    why: str = ""


def cost(best: int, now: int | None = None, why: str = "") -> Cost:
    """`now` is given, with its reason, only where it is not the best."""
    return Cost(best, best if now is None else now, why)


def is_lazy(df: Frame) -> bool:
    """Whether `df` is of Dask."""
    return hasattr(df, "dask")


def measured(df: Frame, *names: str, of: str = "image") -> Frame:
    """`df` with columns of ops on its pictures: a letter each."""
    img = df[of].img
    ops: dict[str, Callable[[], Any]] = {
        "m": img.mean,
        "s": img.std,
        "t": lambda: img.resize(6, 6),
        "u": lambda: img.resize(5, 5),
        "h": lambda: img.height,
        "c": lambda: img.crop(df.price, 0, 2, 2),
    }
    return df.assign(**{name: ops[name]() for name in names})


def merged(df: Frame, how: str = "inner") -> Frame:
    """Beside the sales: four of the twenty match."""
    return df.merge(dd.from_pandas(SALES, 2) if is_lazy(df) else SALES, on="id", how=how)


def where(df: Frame, test: Callable[[Frame], Any]) -> Frame:
    """The rows that pass."""
    return df[test(df)]


def overwritten(df: Frame) -> Frame:
    """Measures of a column that its own thumbnails replaced."""
    return measured(df.assign(image=df.image.img.resize(6, 6)), "m", "s")


def thumbs_measured(df: Frame) -> Frame:
    """A measure of the source and one of the thumbnails kept beside it."""
    df = measured(df, "t")
    return df.assign(m=df.image.img.mean(), tm=df.t.img.mean())


def renamed(df: Frame) -> Frame:
    """An op under each name of one column."""
    df = measured(df, "m").rename(columns={"image": "pic"})
    return df.assign(s=df.pic.img.std())


def argument_of_itself(df: Frame) -> Frame:
    """A crop whose place comes from the same picture."""
    top = (df.image.img.mean() // 100).astype("int64")
    return df.assign(c=df.image.img.crop(top, 0, 4, 4).img.std(), m=df.image.img.mean())


def own_std(df: Frame) -> Frame:
    """Thumbnails filtered by their own spread."""
    small = df.image.img.resize(6, 6)
    return small[small.img.std() > 40].img.mean()


def misaligned(df: Frame) -> Frame:
    """A column assigned from a frame of fewer rows: pandas aligns."""
    df = df.assign(other=df[df.price > 3].image)
    return df.assign(m=df.other.img.mean())


def between(step: Callable[[Frame], Frame]) -> Callable[[Frame], Frame]:
    """A measure, a step that only Dask does, then other ops."""

    def pipeline(df: Frame) -> Frame:
        df = measured(df, "m")
        return measured(step(df) if is_lazy(df) else df, "s", "t")

    return pipeline


def together(*frames: Frame) -> list[Any]:
    """Several results of one ``dask.compute``."""
    return list(dask.compute(*frames)) if is_lazy(frames[0]) else list(frames)


def two_of_one(df: Frame) -> list[Any]:
    """Two filters of one frame that holds an op."""
    df = measured(df, "m")
    return together(df[df.label == "a"], df[df.price > 3])


def concatenated(df: Frame) -> Frame:
    """Two frames derived from one, one after the other."""
    concat = dd.concat if is_lazy(df) else pd.concat
    first = measured(df[["id", "image"]], "m")[["id", "m"]]
    return concat([first, df.assign(m=df.image.img.std())[["id", "m"]]])


def through_parquet(df: Frame) -> Frame:
    """Measures written by Dask's own writer, and read back."""
    df = measured(df, "m", "s")[["id", "m", "s"]]
    if not is_lazy(df):
        return df
    with tempfile.TemporaryDirectory() as folder:
        df.to_parquet(folder)
        return pd.read_parquet(folder)


def optimized(df: Frame, **kwargs: Any) -> Frame:
    """The frame of the optimised expression."""
    return df.optimize(**kwargs) if is_lazy(df) else df


def unsimplified(df: Frame) -> Frame:
    """The graph as built, without Dask's optimiser."""
    df = measured(df, "m", "s")
    if not is_lazy(df):
        return df
    return pd.concat(dask.get(dict(df.__dask_graph__()), df.__dask_keys__()))


def partition(df: Frame) -> Frame:
    """The second of the four partitions."""
    df = measured(df, "m")
    return df.partitions[1] if is_lazy(df) else df.iloc[5:10]


PUSHED = "Dask moves a comparison below the merge, where it decodes rows that will not match"
CASES: dict[str, tuple[Callable[[Frame], Any], Cost]] = {
    # ops side by side, and on each other
    "siblings: resize, mean, std": (lambda d: measured(d, "t", "m", "s"), cost(20)),
    "one op, two parameters": (lambda d: measured(d, "t", "u"), cost(20)),
    "chain through assign, image overwritten": (overwritten, cost(20)),
    "chain through assign, source kept too": (thumbs_measured, cost(20)),
    "rename between, op under both names": (renamed, cost(20)),
    "row-wise argument": (
        lambda d: d.assign(c=d.image.img.crop(d.price, 0, 2, 2).img.mean(), m=d.image.img.mean()),
        cost(20),
    ),
    "argument from the same picture": (argument_of_itself, cost(20)),
    "unused sibling: h of h, m": (lambda d: measured(d, "h", "m")[["id", "h"]], cost(0)),
    "unused sibling: m of t, m": (lambda d: measured(d, "t", "m")[["id", "m"]], cost(20)),
    "len": (lambda d: len(measured(d, "m", "t")), cost(0)),
    "head(3)": (lambda d: measured(d, "m").head(3), cost(3)),
    "one partition": (partition, cost(5)),
    # filters
    "filter on table, then ops": (lambda d: measured(d[d.label == "a"], "m", "s"), cost(5)),
    "ops, then filter on table": (
        lambda d: measured(d, "m", "s").pipe(where, lambda x: x.label == "a"),
        cost(5),
    ),
    "ops, filter on table and measure": (
        lambda d: measured(d, "m").pipe(where, lambda x: (x.label == "a") & (x.m > 120)),
        cost(5),
    ),
    "filter on header, then mean": (lambda d: measured(d[d.image.img.height == 9], "m"), cost(6)),
    "filter on measure, keep it": (
        lambda d: measured(d, "m").pipe(where, lambda x: x.m > 120),
        cost(20),
    ),
    "filter on measure, other ops on survivors": (
        lambda d: measured(measured(d, "m").pipe(where, lambda x: x.m > 120), "s", "t"),
        cost(20),
    ),
    "filter by an unkept measure": (lambda d: measured(d[d.image.img.mean() > 120], "s"), cost(20)),
    "series filtered by itself": (
        lambda d: d.image.img.mean().pipe(lambda m: m[m > 120]),
        cost(20),
    ),
    "series filtered by a sibling": (
        lambda d: d.image.img.mean()[d.image.img.std() > 60],
        cost(20),
    ),
    "thumbnails filtered by their own std": (own_std, cost(20)),
    "rows differ: assign from a filtered frame": (misaligned, cost(8)),
    # merges
    "ops, then merge (4 of 20 match)": (lambda d: merged(measured(d, "m", "s")), cost(20)),
    "merge, then ops": (lambda d: measured(merged(d), "m", "s"), cost(4)),
    "merge, then filter on measure": (
        lambda d: measured(merged(d), "m").pipe(where, lambda x: x.m > 120),
        cost(4),
    ),
    "merge, then filter by an unkept measure": (
        lambda d: merged(d).pipe(where, lambda x: x.image.img.mean() > 120),
        cost(4, 20, PUSHED),
    ),
    "merge, filter by an unkept measure, op": (
        lambda d: measured(merged(d).pipe(where, lambda x: x.image.img.mean() > 120), "t"),
        cost(4, 24, PUSHED),
    ),
    # aggregation, and what ends a pass
    "groupby agg of two measures": (
        lambda d: measured(d, "m", "s", "t").groupby("label")[["m", "s"]].mean(),
        cost(20),
    ),
    "groupby by a header field": (lambda d: measured(d, "h", "m").groupby("h").m.max(), cost(20)),
    "persist, then other ops": (between(lambda d: d.persist()), cost(40)),
    "map_partitions between": (between(lambda d: d.map_partitions(lambda x: x)), cost(40)),
    "repartition between": (
        between(lambda d: d.repartition(npartitions=2)),
        cost(20, 40, "rows move between the two ops: one pass ends, another begins"),
    ),
    # several results
    "two disjoint filters, dask.compute(a, b)": (
        lambda d: together(measured(d[d.label == "a"], "m"), measured(d[d.label == "b"], "s")),
        cost(20),
    ),
    "two filters of one frame with op": (two_of_one, cost(11)),
    "dask.compute(a, b), one source": (
        lambda d: together(d.image.img.mean(), measured(d, "s", "t")),
        cost(20),
    ),
    "concat of two derived frames": (concatenated, cost(20)),
    "sort by a measure": (
        lambda d: measured(d, "m", "s")[["id", "m", "s"]].sort_values("m"),
        cost(20),
    ),
    "drop_duplicates on a measure": (
        lambda d: measured(d, "m")[["m"]].drop_duplicates(),
        cost(20),
    ),
    "to_parquet": (through_parquet, cost(20)),
    "optimize(fuse=False)": (
        lambda d: optimized(measured(d, "m", "s"), fuse=False),
        cost(20),
    ),
    "optimize twice": (lambda d: optimized(optimized(measured(d, "m", "s"))), cost(20)),
    "optimize, then another op": (lambda d: measured(optimized(measured(d, "m")), "s"), cost(40)),
    "graph without simplify": (unsimplified, cost(40)),
}
assert ROWS == 20, "the counts above are of twenty pictures"
