"""pandas' own tests of an extension array, over the kinds of dtype."""

from __future__ import annotations

import operator

import numpy as np
import pandas as pd
import pytest
from pandas.tests.extension import base
from pandas.tests.extension.conftest import *  # noqa: F403

import daskimg as di

KINDS = (
    "image[file]",
    "image[encoded]",
    "image[pixels]",
    "image[uint8]",
    "image[uint8, 2x3x3]",
    "tensor[float32, 4]",
)


def make_cell(name: str, i: int):
    """A cell that differs from every other `i`."""
    if name == "image[file]":
        return di.Image(path=f"{i:03d}.png")
    if name == "image[encoded]":
        return di.Image(b"picture %d" % i)
    if name == "image[pixels]":
        return di.Image(np.full((1 + i % 3, 2), i, ["uint8", "uint16", "float32"][i % 3]))
    if name == "image[uint8]":
        return di.Image(np.full((1 + i % 3, 2, 3), i, "uint8"))
    if name == "image[uint8, 2x3x3]":
        return di.Image(np.full((2, 3, 3), i, "uint8"))
    return np.full(4, i, "float32")


@pytest.fixture(params=KINDS)
def dtype(request):
    return pd.api.types.pandas_dtype(request.param)


@pytest.fixture
def column(dtype):
    """A column of the cells that numbers stand for, None for a missing one."""

    def make(*numbers):
        cells = [None if i is None else make_cell(dtype.name, i) for i in numbers]
        return pd.array(cells, dtype=dtype)

    return make


@pytest.fixture
def data(column):
    return column(*range(10))


@pytest.fixture
def data_missing(column):
    return column(None, 1)


@pytest.fixture
def data_for_sorting(column):
    return column(1, 2, 0)


@pytest.fixture
def data_missing_for_sorting(column):
    return column(1, None, 0)


@pytest.fixture
def data_for_grouping(column):
    return column(1, 1, None, None, 0, 0, 1, 2)


@pytest.fixture
def data_for_twos():
    pytest.skip("pictures are no numbers")


@pytest.fixture
def na_value():
    return pd.NA


@pytest.fixture
def na_cmp():
    return operator.is_


class TestEveryKind(
    base.BaseCastingTests,
    base.BaseConstructorsTests,
    base.BaseDtypeTests,
    base.BaseGetitemTests,
    base.BaseGroupbyTests,
    base.BaseIndexTests,
    base.BaseInterfaceTests,
    base.BaseMethodsTests,
    base.BaseMissingTests,
    base.BasePrintingTests,
    base.BaseReshapingTests,
    base.BaseSetitemTests,
):
    """What a column does with its cells."""


class TestOneKind(
    base.BaseAccumulateTests,
    base.BaseArithmeticOpsTests,
    base.BaseComparisonOpsTests,
    base.BaseParsingTests,
    base.BasePlottingTests,
    base.BaseReduceTests,
    base.BaseUnaryOpsTests,
):
    """Numbers' work, which no kind of cell does."""

    @pytest.fixture
    def dtype(self):
        return di.ImageDtype("uint8")
