"""Random pipelines of all that pandas users write between pictures and tables.

The values are pandas' in every case, by `compute()`, by an iterator and by a writer; where all
steps work row by row, no more pictures are decoded than pass what needs none.
"""

from __future__ import annotations

import itertools
import random

import dask
import pandas as pd
import pytest

import daskimg as di
from tests.amount import amount
from tests.lazy import test_fuzz as narrow
from tests.lazy.frames import counted, eager, lazy, plain
from tests.lazy.test_fuzz import Draw, applied, is_lazy, numbers, pictures


def number(df, d):
    """A measure: one assigned before, or made here."""
    names = numbers(df)
    return df[d.pick(names)] if names and d.b % 3 else df[pictures(df, d)].img.mean()


def mapped(series, how):
    return series.map(how, meta=(series.name, "f8")) if is_lazy(series) else series.map(how)


# -- filters by the table alone -----------------------------------------------------------------
def by_isin(df, d):
    return df[df.price.isin([1, 2, 3, 5])]


def by_map(df, d):
    return df[mapped(df.price, {0: 1, 1: 1, 3: 1}).isna()]


def by_query(df, d):
    return df.query("price > 2")


def by_loc(df, d):
    return df.loc[df.price > 1]


def by_path(df, d):
    if "path" not in df.columns:  # it was projected away
        return df
    return df[df.path.str[-7:-4].isin(["000", "002", "005", "011", "012", "018"])]


def by_arithmetic(df, d):
    return df[(df.price.clip(1, 4) * 2 + df.id % 3).between(2, 7)]


# -- filters by pictures ------------------------------------------------------------------------
def between(df, d):
    return df[number(df, d).between(40 + d.a / 2, 200)]


def isin(df, d):
    return df[~number(df, d).round(-1).isin([100, 110, 120, 130])]


def clip(df, d):
    return df[number(df, d).clip(50, 120) > 60 + d.a / 2]


def where(df, d):
    return df[number(df, d).where(df.price > 1, 0) > 50]


def mask(df, d):
    return df[number(df, d).mask(df.price > 3, 1) > 50]


def map_measure(df, d):
    return df[mapped(number(df, d), lambda v: v * 2) > 150]


def fillna(df, d):
    return df[number(df, d).fillna(130) > 60 + d.a]


def query_measure(df, d):
    names = numbers(df)
    return df.query(f"{d.pick(names)} > {40 + d.a} and price < 6") if names else df


def loc_measure(df, d):
    return df.loc[number(df, d) > 60 + d.a / 2]


def text_of_picture(df, d):
    return df[df[pictures(df, d)].img.mode.str.startswith("R")]


def either(df, d):
    return df[(number(df, d) > 100) | (df.price == 1) | number(df, d).isna()]


# -- columns ------------------------------------------------------------------------------------
def sums(df, d):
    return df.assign(**{f"m_{d.k}": number(df, d) * 2 + df.price.fillna(0)})


def cast(df, d):
    return df.assign(**{f"m_{d.k}": number(df, d).astype("float32").astype("float64")})


def of_path(df, d):
    if "path" not in df.columns:
        return df
    return df.assign(**{f"q_{d.k}": df.path.str[-7:-4]})


def constant(df, d):
    return df.assign(**{f"c_{d.k}": d.a, "varies": d.b, "how": "left"})


def without_one(df, d):
    names = numbers(df)
    return df.drop(columns=[d.pick(names)]) if names else df


def fill_price(df, d):
    return df.fillna({"price": 0})


# -- what moves rows, or looks at more than one -------------------------------------------------
def above_mean(df, d):
    value = number(df, d)
    return df[value >= value.mean()]


def dear_ones(df, d):
    return df[df.price >= df.price.mean()]


def distinct(df, d):
    return df.drop_duplicates(subset=["price", "label", "id"])


def in_order(df, d):
    return df.sort_values("id")


def indexed(df, d):
    key = f"key{d.k}"  # an index of the same name as before: Dask would keep the column too
    return df.assign(**{key: df.id}).set_index(key)


def with_itself(df, d):
    other = df[["id", "price"]].rename(columns={"price": f"z{d.k}"})
    return df.merge(other, on="id")


def sampled(df, d):
    return df[df.id % 3 != d.a % 3]


FREE = (by_isin, by_map, by_query, by_loc, by_path, by_arithmetic, sampled)
ROWS = (
    *(between, isin, clip, where, mask, map_measure, fillna, query_measure, loc_measure),
    *(text_of_picture, either, sums, cast, of_path, constant, without_one, fill_price),
)
MOVES = (above_mean, dear_ones, distinct, in_order, indexed, with_itself)
# Dask itself loses rows where it repartitions beside these.
SHUFFLES = {*narrow.JOINS, distinct, in_order, indexed, with_itself}
# Of these pictures are made anew, or rows moved: other pictures than the source's may be opened.
OTHERS = {
    *(narrow.overwrite, narrow.thumb, narrow.switch_policy, narrow.dropna, *narrow.JOINS),
    *(narrow.concat, narrow.repartition, narrow.persist, narrow.map_partitions, *MOVES),
}
STEPS = (*narrow.STEPS, *FREE, *ROWS, *ROWS, *MOVES)
CASES = amount("DASKIMG_FUZZ_WIDE", 3, 60)
FIRST = amount("DASKIMG_FUZZ_WIDE_FIRST", 0, 0)  # of the cases, to go on after others


def pipelines(seed: str):
    """Two to seven steps each."""
    draw = random.Random(seed)
    for case in range(FIRST + CASES):
        steps = [draw.choice(STEPS) for _ in range(draw.randint(2, 7))]
        if seed == "raise":
            # what is broken goes first; a join would bring gaps back, a policy failures
            steps = [s for s in steps if s not in (narrow.joined, narrow.switch_policy)]
            steps = [narrow.check_filter, *steps]
        if SHUFFLES & {*steps}:
            steps = [step for step in steps if step is not narrow.repartition]
        steps = [
            (s, Draw(k, draw.randrange(100), draw.randrange(100))) for k, s in enumerate(steps)
        ]
        if case >= FIRST:
            yield steps


def passing(files, pipeline) -> int:
    """The rows that pass the filters by the table alone.

    No row is kept from a user's function by a filter that was written after it.
    """
    steps = itertools.takewhile(lambda one: one[0] is not map_measure, pipeline)
    free = [(step, draw) for step, draw in steps if step in FREE]
    return len(applied(eager(files, on_error="null"), free))


@pytest.mark.sampled
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("error:Boolean Series key")  # a filter of other rows
@pytest.mark.parametrize("shape", ["good", "null", "raise", "one index"])
def test_pipelines(shape, paths, mixed, tmp_path):
    files = paths if shape == "good" else mixed
    options = options_of(shape)
    ran = 0
    for case, pipeline in enumerate(pipelines(shape)):
        names = " ".join(step.__name__ for step, _ in pipeline)
        try:
            wanted = applied(eager(files, **options), pipeline)
        except di.ImageError:  # of a policy that was switched
            continue
        ran += 1
        with dask.config.set(scheduler="sync"), counted() as counts:
            frame = applied(lazy(files, **options), pipeline)
            found = frame.compute()
        assert plain(found) == plain(wanted), names
        if not OTHERS & {step for step, _ in pipeline}:
            assert counts["decode"] <= passing(files, pipeline), names
        if case % 4 == 0:
            other_ways(frame, wanted, names, tmp_path / str(case))
    assert ran > CASES // 2


@pytest.mark.long
@pytest.mark.sampled
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shape", ["good", "null", "raise", "one index"])
def test_on_a_cluster(shape, paths, mixed, client):
    files = paths if shape == "good" else mixed
    options = options_of(shape)
    for pipeline in itertools.islice(pipelines(shape), amount("DASKIMG_FUZZ_CLUSTER", 4, 4)):
        pipeline = on_a_cluster(pipeline)
        names = " ".join(step.__name__ for step, _ in pipeline)
        try:
            wanted = applied(eager(files, **options), pipeline)
        except di.ImageError:
            continue
        found = applied(lazy(files, **options), pipeline).compute()
        assert plain(found) == plain(wanted), names


def on_a_cluster(pipeline):
    """A pipeline without the steps that plain Dask hangs on, with a scheduler in this process.

    Python 3.11 locks a cached property, as ``divisions`` is, of all expressions at once. Those of a
    `set_index` are computed under that lock, and the scheduler, a thread beside, waits for it where
    what is below, or above, is not row by row.
    """
    whole = {*MOVES, *narrow.JOINS} - {indexed}
    if not whole & {step for step, _ in pipeline}:
        return pipeline
    return [(step, draw) for step, draw in pipeline if step is not indexed]


def options_of(shape: str) -> dict[str, str | None]:
    """How pictures are read."""
    return {
        "on_error": "raise" if shape in ("good", "raise") else "null",
        "index": "label" if shape == "one index" else None,
    }


def other_ways(frame, wanted: pd.DataFrame, names: str, folder) -> None:
    """An iterator and a writer tell the same rows."""
    columns = [name for name in wanted.columns if name == "id" or name in numbers(wanted)]
    with dask.config.set(scheduler="sync"):
        batches = list(frame[columns].img.iter_batches(7, batch_format="pandas"))
        rows = pd.concat(batches) if batches else wanted[columns].iloc[:0]
        assert plain(rows) == plain(wanted[columns]), names
        frame[columns].img.write_parquet(folder)
    assert plain(di.read_parquet(folder)[columns].compute()) == plain(wanted[columns]), names
