"""Memory, tokens, setting and making cells, what goes with each of them."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
from dask.sizeof import sizeof
from dask.tokenize import tokenize

import daskimg as di
from daskimg.testing import assert_images_equal
from tests.versions import PANDAS

KINDS = (
    "image[file]",
    "image[encoded]",
    "image[pixels]",
    "image[uint8]",
    "image[uint8, 4x6x3]",
    "tensor[float32, 4]",
    "image[mixed]",
)
REASON = "decode: UnidentifiedImageError: cannot identify image file"


def cell(kind: str, i: int, error: str | None = None) -> di.Image:
    """A cell with a path; one in a column of bytes or pixels holds them too."""
    path = f"folder/{i}.png"
    if kind == "image[mixed]":
        kind = ("image[encoded]", "image[file]", "image[pixels]")[i % 3]
    if kind == "image[file]":
        return di.Image(path=path, error=error)
    if kind == "image[encoded]":
        return di.Image(b"encoded %d" % i * (i + 1), path, error)
    if kind == "tensor[float32, 4]":
        return di.Image(np.full(4, i, "float32"), path, error)
    shape = (4, 6, 3) if "4x6x3" in kind else (3 + i % 3, 5, 3)
    dtype = "uint16" if kind == "image[pixels]" and i % 2 else "uint8"
    return di.Image(np.full(shape, i % 250, dtype), path, error)


def column(kind: str, n: int = 6, *, nulls: bool = True) -> di.ImageArray:
    """`n` cells; with `nulls`, the second failed and the last is missing."""
    cells: list[di.Image | None] = [cell(kind, i) for i in range(n)]
    if nulls:
        cells[1] = di.Image(path="folder/1.png", error=REASON)
        cells[-1] = None
    return di.ImageArray.of(cells, pd.api.types.pandas_dtype(kind))


def records(array: di.ImageArray) -> list[tuple]:
    """All that a column knows of each cell."""
    nothing = [None] * len(array)
    paths = nothing if array.path is None else array.path.to_pylist()
    errors = nothing if array.error is None else array.error.to_pylist()
    return list(zip(array.digests(), paths, errors, array.valid.tolist(), strict=True))


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(params=[k for k in KINDS if k != "image[file]"])
def held(request):
    """The kinds whose cells hold bytes or pixels."""
    return request.param


def memory(array: di.ImageArray) -> np.ndarray:
    return array.data.values if hasattr(array.data, "values") else array.data.buffer


# -- memory --------------------------------------------------------------------------------
def test_slices_are_views(held):
    array = column(held, 10)
    part = array[2:5]
    assert np.shares_memory(memory(part), memory(array))
    assert records(part) == records(array)[2:5]
    assert np.shares_memory(memory(array.copy()), memory(array))
    assert np.shares_memory(memory(array[2:5].apart()), memory(array))


def test_a_copy_of_a_slice_holds_its_rows_alone(held):
    array = column(held, 50, nulls=False)
    whole = array.nbytes
    for copy in (
        array[4:8].copy(),
        pd.Series(array).iloc[4:8].copy().array,
        pd.Series(array).iloc[10:].iloc[:4].copy().array,
        pd.DataFrame({"a": array}).iloc[4:8].copy()["a"].array,
        pd.Series(array[5:9]).fillna(pd.Series([np.nan] * 4)).array,
    ):
        assert not np.shares_memory(memory(copy), memory(array))
        assert copy.nbytes < whole / 8
        assert copy.nbytes >= memory(copy).nbytes
        assert records(copy) == records(copy.copy())
    assert records(array[4:8].copy()) == records(array)[4:8]
    assert records(array.take(np.arange(40)[::-1]).copy()) == records(array)[39::-1]


def test_what_is_set_in_one_shows_in_no_other(kind):
    series = pd.Series(column(kind, 6, nulls=False))
    made = {
        "copy": series.copy,
        "slice": lambda: series.iloc[:4],
        "concat": lambda: pd.concat([series]),
        "take": lambda: series.take([0, 1]),
        "dtype": lambda: series.astype(series.dtype),
        "index": lambda: series.reset_index(drop=True),
        "apart": lambda: pd.Series(series.array.apart(), copy=False),
    }
    if PANDAS >= 3:  # before, pandas shares what it takes from one frame
        made["frames"] = lambda: pd.concat([series.to_frame("a")])["a"]
    before = records(series.array)
    for name, make in made.items():
        one = make()
        one.iloc[0] = None
        assert records(series.array) == before, name
        one, other = make(), series.copy()
        series.iloc[0] = None
        assert not one.isna().any(), name
        series = other


def test_a_take_of_under_half_holds_no_other_rows(held):
    array = column(held, 50, nulls=False)
    mask = np.arange(50) < 4
    for few in (array.take([3, 40]), array[mask], array.take([7, -1], allow_fill=True)):
        assert not np.shares_memory(memory(few), memory(array))
        assert memory(few).nbytes < memory(array).nbytes / 5
    assert records(array[mask]) == records(array)[:4]


def test_a_take_of_most_rows_copies_no_bytes():
    array = column("image[uint8]", 50, nulls=False)
    most = array.take(np.arange(48)[::-1])
    assert np.shares_memory(memory(most), memory(array))
    assert records(most) == records(array)[47::-1]


def test_all_missing_rows_hold_nothing():
    array = column("image[uint8]", 50, nulls=False)
    missing = array.take([-1] * 40, allow_fill=True)
    assert missing.isna().all()
    assert memory(missing).nbytes == 0


def test_a_one_row_slice_pickles_small(held):
    big = column(held, 500, nulls=False)
    one = pickle.dumps(big[250:251], protocol=5)
    assert len(one) < 5_000 < len(pickle.dumps(big, protocol=5))
    assert records(pickle.loads(one)) == records(big)[250:251]


def test_pickle_5_leaves_pixels_out_of_band():
    buffers: list[pickle.PickleBuffer] = []
    array = column("image[uint8, 4x6x3]", 100, nulls=False)[10:90]
    body = pickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    sent = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
    assert any(np.shares_memory(part, memory(array)) for part in sent)
    assert records(pickle.loads(body, buffers=buffers)) == records(array)


def test_bytes_told_are_those_held():
    pixels = [np.zeros((100, 100), "uint8")] * 10
    ragged = pd.Series(pixels, dtype="image")
    uniform = pd.Series(pixels, dtype="image[uint8, 100x100]")
    for series in (ragged, uniform):
        assert 100_000 <= series.nbytes < 101_000
        part = series.iloc[3:5]  # a view, which keeps all of them
        assert 100_000 <= part.nbytes < 101_000
        assert 20_000 <= part.array.row_bytes < 20_500
        assert 20_000 <= part.copy().nbytes < 20_500
        for held in (series, part, part.copy()):
            assert held.memory_usage(index=False, deep=True) == held.nbytes
            assert held.nbytes <= sizeof(held) < held.nbytes + 3_000
    paths = pd.Series(["x" * 1_000] * 10, dtype="image[file]")
    assert 10_000 <= paths.nbytes < 10_300


# -- tokens --------------------------------------------------------------------------------
def test_tokens_tell_content_and_nothing_else(kind):
    array = column(kind, 8)
    tokens = {
        "all": tokenize(array),
        "first": tokenize(array[:3]),
        "second": tokenize(array[3:6]),
        "reversed": tokenize(array[::-1]),
        "blank": tokenize(di.ImageArray.empty(8, array.dtype)),
    }
    assert len(set(tokens.values())) == len(tokens)
    again = column(kind, 8)
    assert tokenize(again) == tokens["all"]
    assert tokenize(pickle.loads(pickle.dumps(array))) == tokens["all"]
    assert tokenize(again[1:][2:5]) == tokens["second"]
    assert tokenize(array.take([3, 4, 5])) == tokens["second"]


def test_tokens_tell_paths_reasons_and_policy():
    plain = di.ImageArray.of([di.Image(b"x")], di.ImageDtype("encoded"))
    path = di.ImageArray.of([di.Image(b"x", "a.png")], di.ImageDtype("encoded"))
    warned = di.ImageArray.of([di.Image(b"x", "a.png", "partial")], di.ImageDtype("encoded"))
    null = di.ImageArray.of([di.Image(b"x")], di.ImageDtype("encoded", on_error="null"))
    assert len({tokenize(array) for array in (plain, path, warned, null)}) == 4


def test_tokens_tell_where_text_ends():
    left, right = (
        pd.Series(paths, dtype="image[file]").array for paths in (["ab", "c"], ["a", "bc"])
    )
    assert tokenize(left) != tokenize(right)


# -- what goes with a cell -----------------------------------------------------------------
@pytest.mark.parametrize(
    "move",
    [
        lambda a: a.take(np.arange(len(a))),
        lambda a: di.ImageArray._concat_same_type([a[:2], a[2:]]),
        lambda a: pd.concat([pd.Series(a[:4]), pd.Series(a[4:])]).array,
        lambda a: pickle.loads(pickle.dumps(a)),
        lambda a: a[np.ones(len(a), bool)],
        lambda a: pd.Series(a).reindex(range(len(a))).array,
        lambda a: pd.DataFrame({"x": a}).merge(pd.DataFrame({"k": range(len(a))}),
                                               left_index=True, right_on="k")["x"].array,
        lambda a: pd.Series(a).shift(0).array,
        lambda a: a[::-1][::-1],
    ],
)  # fmt: skip
def test_paths_and_reasons_go_along(kind, move):
    array = column(kind)
    assert records(move(array)) == records(array)
    assert move(array).dtype == array.dtype


def test_setting_cells(kind):
    array, before = column(kind), records(column(kind))
    view = array[:]
    array[0] = array[2]
    array[3:5] = array[[1, 5]]
    dtype = array.dtype
    want = [before[2], *before[1:3], before[1], before[5], before[5]]
    if dtype.tensor:  # a tensor's scalar has no path
        want[0] = (before[2][0], None, None, True)
    assert records(array) == want
    assert records(view) == before
    array[[0, 2]] = None
    assert array.isna().tolist() == [True, True, True, True, True, True]
    assert records(array)[0] == (None, None, None, False)
    array[np.array([True] * 3 + [False] * 3)] = cell(kind, 5) if not dtype.tensor else np.ones(4)
    assert array.isna().tolist() == [False] * 3 + [True] * 3
    with pytest.raises(ValueError, match="cannot set 3 rows from 2 cells"):
        array[:3] = array[:2]


def test_setting_arrays():
    array = column("tensor[float32, 4]", nulls=False)
    array[1:3] = np.arange(8, dtype="float32").reshape(2, 4)
    assert array[2].tolist() == [4, 5, 6, 7]
    array[:] = np.ones(4)
    assert np.stack(list(array)).sum() == 24
    array[0] = np.array([9, 8, 7, 6.5])
    assert array[0].tolist() == [9, 8, 7, 6.5]
    pictures = column("image[uint8]", nulls=False)
    pictures[:2] = np.zeros((2, 7, 7, 3), "uint8")
    pictures[2:4] = np.ones((7, 7, 3), "uint8")
    assert [picture.to_numpy().shape for picture in pictures[:4]] == [(7, 7, 3)] * 4
    assert [picture.to_numpy().max() for picture in pictures[:4]] == [0, 0, 1, 1]


def test_missing_and_failed_cells():
    series = pd.Series(column("image[uint8]"))
    assert series.isna().tolist() == [False, True, False, False, False, True]
    assert series[5] is pd.NA
    failed = series[1]
    assert isinstance(failed, di.Image)
    assert failed.failed
    assert (failed.error, failed.path) == (REASON, "folder/1.png")
    with pytest.raises(di.ImageError, match="cannot identify image file"):
        failed.to_numpy()
    kept, lost = series.notna().sum(), series.img.failed.sum()
    assert (kept, lost, len(series) - kept - lost) == (4, 1, 1)
    assert series.dropna().index.tolist() == [0, 2, 3, 4]
    tensor = column("tensor[float32, 4]")
    assert tensor[1] is pd.NA
    assert tensor.error[1].as_py() == REASON


# -- columns together ----------------------------------------------------------------------
def test_policies_concatenate():
    def one(policy, path="a.png"):
        dtype = di.ImageDtype("file", on_error=policy)
        return pd.Series(di.ImageArray.of([di.Image(path=path)], dtype))

    for policies, want in [
        (("raise", "null"), "null"),
        (("null", None), "null"),
        (("raise", None), "raise"),
        ((None, None), None),
    ]:
        both = pd.concat([one(policy) for policy in policies])
        assert (both.dtype, both.dtype.on_error) == ("image[file]", want)
    a, b = di.ImageDtype("file", on_error="null"), di.ImageDtype("file", on_error="raise")
    assert a == b
    assert hash(a) == hash(b)
    assert tokenize(a) != tokenize(b)
    assert a.name == b.name == "image[file]"


@pytest.mark.parametrize(
    ("left", "right", "want"),
    [
        ("image[uint8, 4x6x3]", "image[uint8]", "image[uint8]"),
        ("image[uint8]", "image[pixels]", "image[pixels]"),
        ("image[uint8, 4x6x3]", "image[uint8, 4x6x3]", "image[uint8, 4x6x3]"),
        ("image[pixels]", "image[uint8, 4x6x3]", "image[pixels]"),
        ("image[file]", "image[encoded]", "image[mixed]"),
        ("image[encoded]", "image[file]", "image[mixed]"),
        ("image[file]", "image[pixels]", "image[mixed]"),
        ("image[file]", "image[uint8, 4x6x3]", "image[mixed]"),
        ("image[uint8]", "image[encoded]", "image[mixed]"),
        ("image[mixed]", "image[file]", "image[mixed]"),
        ("image[uint8, 4x6x3]", "image[mixed]", "image[mixed]"),
        ("image[mixed]", "tensor[float32, 4]", "object"),
        ("image[uint8]", "tensor[float32, 4]", "object"),
    ],
)
def test_kinds_concatenate(left, right, want):
    parts = [pd.Series(column(left)), pd.Series(column(right))]
    both = pd.concat(parts, ignore_index=True)
    assert both.dtype == want
    if want != "object":
        assert records(both.array) == records(parts[0].array) + records(parts[1].array)


def test_a_frame_without_the_column(kind):
    frame = pd.DataFrame({"k": range(6), "x": column(kind)})
    both = pd.concat([frame, pd.DataFrame({"k": [9]})], ignore_index=True)
    assert both.x.dtype == kind
    assert records(both.x.array) == [*records(frame.x.array), (None, None, None, False)]


def test_grouping_by_content():
    red, blue = np.full((2, 2, 3), 1, "uint8"), np.full((2, 2, 3), 2, "uint8")
    series = pd.Series([red, blue, None, red.copy(), None], dtype="image")
    assert series.nunique() == 2
    assert series.duplicated().tolist() == [False, False, False, True, True]
    assert series.value_counts().tolist() == [2, 1]
    assert series.isin([blue, None]).tolist() == [False, True, True, False, True]
    assert (series == di.Image(red)).tolist() == [True, False, False, True, False]
    assert (series == 3).tolist() == [False] * 5
    codes, kinds = pd.factorize(series)
    assert codes.tolist() == [0, 1, -1, 0, -1]
    assert_images_equal(kinds, [red, blue])
    frame = pd.DataFrame({"x": series, "n": range(5)})
    assert frame.groupby("x", sort=False).n.sum().tolist() == [3, 1]
    files = pd.Series(["a", "b", "a"], dtype="image[file]")
    assert (files == "a").tolist() == [True, False, True]
    assert pd.util.hash_pandas_object(files, index=False).nunique() == 2
    vectors = pd.Series([[1, 2], [3, 4], [1, 2]], dtype="tensor[float32, 2]")
    assert vectors.unique().dtype == "tensor[float32, 2]"
    assert vectors.value_counts().tolist() == [2, 1]


def test_order_is_refused_with_advice():
    with pytest.raises(TypeError, match=r"have no order; sort by .img.path or by a measure"):
        pd.Series(column("image[uint8]")).sort_values()


def test_pixels_are_never_written(kind):
    series = pd.Series(column(kind, nulls=False))
    scalar = series[0]
    pixels = scalar if isinstance(scalar, np.ndarray) else scalar.data
    if isinstance(pixels, np.ndarray):
        assert not pixels.flags.writeable
    before, copied = records(series.array), series.copy()
    copied.iloc[0] = copied.iloc[1] if kind != "tensor[float32, 4]" else None
    assert records(series.array) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["first", "last"])
@pytest.mark.parametrize("options", [{}, {"min_count": 2}, {"skipna": False}], ids=str)
def test_a_cell_of_each_group_is_that_of_numbers(kind, how, options):
    cells = pd.Series(column(kind))
    frame = pd.DataFrame(
        {
            "group": [2, 1, 1, 2, np.nan, 3],
            "cell": cells,
            "row": pd.Series(range(6), dtype="Int64").mask(cells.isna()),
        }
    )
    found = getattr(frame.groupby("group"), how)(**options)
    assert found.cell.dtype == kind
    assert found.cell.isna().tolist() == found.row.isna().tolist()
    wanted = cells.array.take(found.row.fillna(-1).astype(int), allow_fill=True)
    if options == {"skipna": False} and how == "first":  # a failed cell is one, with its reason
        assert found.cell.array.error[0].as_py() == REASON
    else:
        assert records(found.cell.array) == records(wanted)


def test_no_groups():
    frame = pd.DataFrame({"group": [np.nan], "cell": pd.Series(["a"], dtype="image[file]")})
    assert frame.groupby("group").cell.first().tolist() == []


def test_what_is_outside_is_named():
    cells = pd.Series([None] * 3, dtype="image").array
    for index, wrong in (([0, -5], -5), ([1, 3, 7], 3)):
        with pytest.raises(IndexError, match=f"index {wrong} is out of bounds"):
            cells.take(index)
    assert cells[1, ...] is cells[..., 1] is pd.NA
    assert len(cells[..., :2]) == len(cells[:2, ...]) == 2


def of_one_shape(n=6):
    return column("image[uint8, 4x6x3]", n, nulls=False)


@pytest.mark.parametrize("cuts", [(0, 2, 6), (0, 1, 3, 6), (1, 3, 6), (0, 0, 3, 6)])
def test_rows_that_lie_side_by_side_are_joined_where_they_are(cuts):
    cells = of_one_shape()
    parts = [cells[a:b] for a, b in itertools.pairwise(cuts)]
    joined = di.ImageArray._concat_same_type(parts)
    assert_images_equal(pd.Series(joined), pd.Series(cells[cuts[0] : cuts[-1]]))
    assert np.shares_memory(joined.data.values, cells.data.values)
    joined[0] = cells[5]  # which changes none of the others
    assert (cells.data.values[:, 0, 0, 0] == range(6)).all()
    assert (parts[-1].data.values[:, 0, 0, 0] == range(cuts[-2], cuts[-1])).all()


@pytest.mark.parametrize(
    "parts",
    [
        lambda c: [c[3:], c[:3]],
        lambda c: [c[:2], c[3:]],
        lambda c: [c[:3], c[:3]],
        lambda c: [c[:4], c[3:]],
        lambda c: [c[::-1], c],
        lambda c: [c[:3], of_one_shape()[3:]],
        lambda c: [c[:1], c[1:2]],  # of an array that would be kept for few rows
    ],
)
def test_other_rows_are_joined_in_memory_of_their_own(parts):
    cells = of_one_shape()
    given = parts(cells)
    joined = di.ImageArray._concat_same_type(given)
    expected = np.concatenate([part.data.values for part in given])
    assert (joined.data.values == expected).all()
    assert not np.shares_memory(joined.data.values, cells.data.values)
