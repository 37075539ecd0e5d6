"""Random pipelines of image and table ops: Dask gives what pandas gives."""

from __future__ import annotations

from typing import Any, NamedTuple

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import daskimg as di
from tests.amount import amount
from tests.lazy.frames import eager, lazy, plain

Frame = Any
MEASURES = ("mean", "std", "max", "entropy")


class Draw(NamedTuple):
    """One step: its place in the pipeline and two numbers of 0 to 99 that its choices hang on."""

    k: int
    a: int
    b: int

    def pick(self, items: Any) -> Any:
        return items[self.a % len(items)]


def is_lazy(df: Frame) -> bool:
    return hasattr(df, "dask")


def pictures(df: Frame, draw: Draw) -> Any:
    """One of the image columns."""
    return draw.pick([name for name in df.columns if name.startswith(("image", "pic", "thumb"))])


def numbers(df: Frame) -> list[str]:
    """The measures assigned so far."""
    return [name for name in df.columns if name.startswith("m_")]


def labelled(df: Frame) -> Any:
    """Not ``==``: pandas cannot `&` its result with that of a nullable column that holds NA."""
    return df.label.isin(["b"])


def measure(df, d):
    return df.assign(**{f"m_{d.k}": getattr(df[pictures(df, d)].img, MEASURES[d.b % 4])()})


def scaled(df, d):
    return df.assign(k=1, **{f"m_{d.k}": df[pictures(df, d)].img.mean() / 255 * 200})


def thumb_measure(df, d):
    small = df[pictures(df, d)].img.resize(6, 6)
    return df.assign(**{f"m_{d.k}": small.img.std()})


def header(df, d):
    name = ("height", "width", "channels", "nbytes")[d.b % 4]
    return df.assign(**{f"h_{d.k}": getattr(df[pictures(df, d)].img, name)})


def overwrite(df, d):
    name = pictures(df, d)
    return df.assign(**{name: df[name].img.resize(6, 6)})


def thumb(df, d):
    img = df[pictures(df, d)].img
    made = [lambda: img.resize(6, 7), lambda: img.convert("L"), img.flip, lambda: img.decode("RGB")]
    if not isinstance(df.dtypes[pictures(df, d)], di.ImageDtype):
        raise AssertionError("an image column lost its dtype")
    return df.assign(**{f"thumb{d.k}": made[d.b % 4]()})


def table_filter(df, d):
    return df[df.price > d.a % 4] if d.b < 60 else df[labelled(df)]


def measure_filter(df, d):
    return df[df[d.pick(numbers(df))] > 40 + d.b] if numbers(df) else df


def both_filter(df, d):
    if not numbers(df):
        return df
    test = df[d.pick(numbers(df))] > 40 + d.b
    return df[test & (df.price > 1)] if d.a < 60 else df[test | (df.price > 4)]


def unkept_filter(df, d):
    return df[df[pictures(df, d)].img.mean() > 50 + d.b]


def unkept_both_filter(df, d):
    test = df[pictures(df, d)].img.std() > 20 + d.b % 50
    return df[labelled(df) & test] if d.a < 50 else df[test & (df.price < 5)]


def negated_filter(df, d):
    return df[~(df[pictures(df, d)].img.mean() > 60 + d.b)]


def header_filter(df, d):
    return df[df[pictures(df, d)].img.height != 9]


def header_both_filter(df, d):
    img = df[pictures(df, d)].img
    return df[(img.mean() > 60 + d.b // 2) & (img.height != 9)]


def check_filter(df, d):
    return df[df[pictures(df, d)].img.check().isna()]


def check_column(df, d):
    return df.assign(**{f"e_{d.k}": df[pictures(df, d)].img.check()})


def recorded(df, d):
    img = df[pictures(df, d)].img
    return df.assign(**{f"e_{d.k}": img.error} if d.b < 50 else {f"f_{d.k}": img.failed})


def row_wise(df, d):
    price = df.price.fillna(0).astype("int64")  # a join may have left gaps
    top = price // 4 if d.b < 60 else price % 3
    return df.assign(**{f"thumb{d.k}": df[pictures(df, d)].img.crop(top, 0, 2, 3)})


def row_wise_of_itself(df, d):
    img = df[pictures(df, d)].img
    return df.assign(**{f"thumb{d.k}": img.crop(img.height - 2, 0, 2, 2)})


def switch_policy(df, d):
    name = pictures(df, d)
    return df.assign(**{name: df[name].img.on_error("null" if d.b < 70 else "raise")})


def rename(df, d):
    return df.rename(columns={pictures(df, d): f"pic{d.k}"})


def project(df, d):
    kept = {"id", "price", "label", pictures(df, d)}
    return df[[x for i, x in enumerate(df.columns) if x in kept or (i * 7 + d.b) % 3]]


def join(df, d):
    other = pd.DataFrame({"id": range(0, 20, 2), f"sold{d.k}": range(10)})
    other = dd.from_pandas(other, 2) if is_lazy(df) else other
    return df.merge(other, on="id", how="inner" if d.b < 50 else "left")


def joined(df, d):
    """Pictures on the right of a left join: missing cells."""
    other = pd.DataFrame({"id": range(1, 26, 3), f"sold{d.k}": range(9)})
    other = dd.from_pandas(other, 2) if is_lazy(df) else other
    return other.merge(df, on="id", how="left")


def concat(df, d):
    return (dd if is_lazy(df) else pd).concat([df[df.price > 2], df[df.price <= 2]])


def repartition(df, d):
    return df.repartition(npartitions=2) if is_lazy(df) else df


def persist(df, d):
    return df.persist() if is_lazy(df) else df


def map_partitions(df, d):
    return df.map_partitions(lambda part: part) if is_lazy(df) else df


def dropna(df, d):
    return df.dropna(subset=["price"] if d.b < 50 else [pictures(df, d)])


STEPS = (
    *(measure, measure, scaled, thumb_measure, header, overwrite, thumb),
    *(table_filter, measure_filter, both_filter, unkept_filter, unkept_both_filter),
    *(negated_filter, header_filter, header_both_filter, check_filter, check_filter),
    *(check_column, recorded, row_wise, row_wise_of_itself, switch_policy),
    *(rename, project, join, joined, concat, repartition, persist, map_partitions, dropna),
)
JOINS = (join, joined)


@st.composite
def pipelines(draw) -> list[tuple[Any, Draw]]:
    """Two to six steps; no repartition beside joins, where Dask itself loses rows."""
    chosen = draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=6))
    if any(step in JOINS for step in chosen):
        chosen = [step for step in chosen if step is not repartition]
    number = st.integers(0, 99)
    return [(step, Draw(k, draw(number), draw(number))) for k, step in enumerate(chosen)]


def applied(df: Frame, pipeline: list[tuple[Any, Draw]], tolerant: bool = False) -> Frame:
    """`df` after all steps; `tolerant`: no step switches a policy to "raise"."""
    for step, draw in pipeline:
        if tolerant and step is switch_policy:
            draw = draw._replace(b=0)
        df = step(df, draw)
    return df


def visible_failures(df: pd.DataFrame, broken: set[int]) -> bool:
    """Whether a row shows what could not be computed of its broken picture."""
    rows = df[df.id.isin(broken)]
    return any(rows[name].isna().any() for name in numbers(df))


def check_declared(found: pd.DataFrame, declared: pd.Series) -> None:
    """A declared dtype is the computed one, of every column that holds or describes pictures."""
    for name, dtype in found.dtypes.items():
        if str(name).startswith(("image", "pic", "thumb", "m_", "h_", "e_")):
            assert dtype == declared[name], name


@pytest.mark.sampled
@pytest.mark.filterwarnings("error:Boolean Series key")  # a filter of other rows
@pytest.mark.parametrize("shape", ["good", "broken, null", "broken, raise", "broken, one index"])
@settings(
    max_examples=amount("DASKIMG_FUZZ_PIPELINES", 4, 80),
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],  # shrinking a pipeline takes longer than reading it
    suppress_health_check=list(HealthCheck),
)
@given(pipeline=pipelines())
def test_pipelines(shape, pipeline, paths, mixed):
    files = paths if shape == "good" else mixed
    policy = "raise" if shape in ("good", "broken, raise") else "null"
    index = "label" if shape == "broken, one index" else None
    source = eager(files, on_error=policy, index=index)
    wanted = found = None
    try:
        wanted = applied(source, pipeline)
    except di.ImageError:
        assert policy == "raise" or any(step is switch_policy for step, _ in pipeline)
    with dask.config.set(scheduler="sync"):
        frame = None
        try:
            frame = applied(lazy(files, on_error=policy, index=index), pipeline)
            found = frame.compute()
        except di.ImageError:
            assert wanted is None, "pandas had no row that raises"
            return
    check_declared(found, frame.dtypes)
    if wanted is not None:
        assert plain(found) == plain(wanted)
        return
    # the rows that raise in pandas were dropped before anyone looked at them
    tolerant = eager(files, on_error="null", index=index)
    wanted = applied(tolerant, pipeline, tolerant=True)
    assert plain(found) == plain(wanted)
    if not any(step is switch_policy for step, _ in pipeline):
        well = tolerant.image.img.check().isna()
        assert not visible_failures(wanted, set(np.flatnonzero(~well.to_numpy())))
