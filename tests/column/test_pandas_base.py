"""pandas' own tests of an extension array, over the kinds of dtype."""

from __future__ import annotations

import operator
import re

import numpy as np
import pandas as pd
import pytest
from pandas.tests.extension import base
from pandas.tests.extension.conftest import *  # noqa: F403

import daskimg as di
from tests.versions import PANDAS

PLOTTING = [base.BasePlottingTests] if PANDAS >= 3 else []

IMAGES = (
    "image[file]",
    "image[encoded]",
    "image[pixels]",
    "image[uint8]",
    "image[uint8, 2x3x3]",
    "image[mixed]",
)
TENSOR = "tensor[float32, 4]"

# What cannot apply: a reason, and the tests (their names go on so, parameters included).
NO_KIND_CAN = {
    "pictures have no order: sort by a path or a measure": (
        r"arg(min_argmax|sort(?!_missing_array))|argreduce_series.*True|nargsort|searchsorted|combine_le|rank|"
        r"sort_(?!values_frame)|is_monotonic_(in|de)|value_counts(_with\w+)?\["
    ),
    "buffers are shared with Arrow and other tasks, so setting a cell makes new ones": (
        r"view|transpose\[|setitem_preserves_views"
    ),
}
SOME_CANNOT = {
    "the text of a file is its path, not the repr of the scalar": r"astype_str(ing)?\[image\[file",
    "pixels and bytes are no JSON": r"json_roundtrip\[image\[(?!file)",
    "pixels are no numbers of a plot": r"plot_on_y_axis",
    "a tensor cell is an array, which == compares value by value": (
        r"(groupby_extension_(apply|transform)|sort_values_frame|unique|ravel|tolist|where_series|shift_(0_p|fill_v)\w+|fillna_(copy|limit)_\w+)\[tensor"
    ),
}
if PANDAS < 3:
    SOME_CANNOT["the test makes a column of sums and names no dtype: no tensor, to us"] = (
        r"combine_add\[tensor"
    )


@pytest.fixture(autouse=True)
def _cannot(request):
    name = request.node.name
    for reason, names in (NO_KIND_CAN | SOME_CANNOT).items():
        if re.match(f"test_({names})", name):
            if reason in NO_KIND_CAN and "[image[uint8]" not in name:
                pytest.skip(f"fails alike for image[uint8]: {reason}")
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))


def make_cell(name: str, i: int):
    """A cell that differs from every other `i`."""
    if name == "image[mixed]":
        name = ("image[file]", "image[encoded]", "image[pixels]")[i % 3]
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


@pytest.fixture(params=IMAGES)
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
    return column(*range(10 if PANDAS >= 3 else 100))  # as many as the tests of each want


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


@pytest.mark.sampled(one_in=4)
class TestImages(
    base.BaseConstructorsTests,
    base.BaseGetitemTests,
    base.BaseInterfaceTests,
    base.BaseMissingTests,
    base.BaseSetitemTests,
):
    """Cells in and out. For tensors `test_array` has these: pandas compares scalars with ==."""


@pytest.mark.sampled(one_in=4)
class TestColumns(
    base.BaseCastingTests,
    base.BaseDtypeTests,
    base.BaseGroupbyTests,
    base.BaseIndexTests,
    base.BaseMethodsTests,
    base.BasePrintingTests,
    base.BaseReshapingTests,
):
    """What pandas does with columns of them."""

    @pytest.fixture(params=[*IMAGES, TENSOR])
    def dtype(self, request):
        return pd.api.types.pandas_dtype(request.param)

    if PANDAS < 3:  # whose test knows other words for it

        def test_in_numeric_groupby(self, data_for_grouping):
            groups = pd.DataFrame({"A": [1, 1, 2, 2, 3, 3, 1, 4], "B": data_for_grouping, "C": 1})
            with pytest.raises(TypeError, match="does not support operation 'sum'"):
                groups.groupby("A").sum()
            assert [*groups.groupby("A").sum(numeric_only=True)] == ["C"]


@pytest.mark.sampled(one_in=4)
class TestNumbers(
    base.BaseAccumulateTests,
    base.BaseArithmeticOpsTests,
    base.BaseComparisonOpsTests,
    base.BaseParsingTests,
    *PLOTTING,
    base.BaseReduceTests,
    base.BaseUnaryOpsTests,
):
    """Numbers' work, which no kind of cell does."""

    @pytest.fixture
    def dtype(self):
        return di.ImageDtype("uint8")
