"""What becomes an image column: whatever holds paths, bytes or pictures."""

from __future__ import annotations

import base64
import io
import pathlib

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pytest

import daskimg as di
from daskimg.column.cells import is_missing


def png() -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", (5, 3), (9, 9, 9)).save(out, "PNG")
    return out.getvalue()


URL = "data:image/png;base64," + base64.b64encode(png()).decode()
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def arrow(*values, kind=None) -> pd.arrays.ArrowExtensionArray:
    return pd.arrays.ArrowExtensionArray(pa.array(values, kind))


def words(path: str) -> pd.arrays.ArrowExtensionArray:
    return pd.arrays.ArrowExtensionArray(pa.array([path, None]).dictionary_encode())


CASES = {
    "text": lambda path: [path, None],
    "pathlib": lambda path: pd.Series([pathlib.Path(path), None]),
    "category": lambda path: pd.Series([path, path, None], dtype="category"),
    "category of pathlib": lambda path: pd.Series([pathlib.Path(path)], dtype="category"),
    "arrow text": lambda path: pd.Series([path, None], dtype=pd.ArrowDtype(pa.string())),
    "arrow dictionary": lambda path: pd.Series(words(path)),
    "python text": lambda path: pd.Series([path, None], dtype="string[python]"),
    "data URL": lambda path: pd.Series([URL, path, None]),
    "data URL, object": lambda path: pd.Series([URL, path, None], dtype=object),
    "base64": lambda path: pd.Series([URL.partition(",")[2], None]),
    "dicts": lambda path: pd.Series([{"bytes": png(), "path": None}, {"path": path}, None]),
    "dicts of nothing": lambda path: pd.Series([{"bytes": png()}, {"bytes": None, "path": None}]),
    "structs": lambda path: pd.Series(
        arrow({"bytes": png(), "path": "x.png"}, {"bytes": None, "path": path}, None, kind=STRUCT)
    ),
    "structs of paths": lambda path: pd.Series(arrow({"path": path}, None)),
    "Pillow": lambda path: pd.Series([PIL.Image.open(path), None]),
    "16 bits": lambda path: pd.Series([np.zeros((3, 5), "uint16"), None]),
    "lists of lists": lambda path: pd.Series([[[0] * 5] * 3, None]),
    "bytes": lambda path: pd.Series([png(), bytearray(png()), None]),
    "null": lambda path: pd.Series([None, None]),
    "NaN": lambda path: pd.Series([np.nan]),
    "arrow null": lambda path: pd.Series(arrow(None, None)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("how", ["images", "astype"])
def test_columns(case, lazy, how, tmp_path, one_thread):
    (tmp_path / "a.png").write_bytes(png())
    given = CASES[case](str(tmp_path / "a.png"))
    series = given if isinstance(given, pd.Series) else pd.Series(given)
    nothing = {"bytes": None, "path": None}
    null = [x == nothing if isinstance(x, dict) else is_missing(x) for x in series]
    with dask.config.set({"dataframe.convert-string": False}):
        column = dd.from_pandas(series, npartitions=1) if lazy else series
        made = di.images(column) if how == "images" else column.astype("image")
        width = made.img.width
        got = width.compute() if lazy else width
    assert got.isna().tolist() == null
    assert set(got.dropna()) <= {5}
    if lazy and how == "images":
        assert made.compute().dtype == made.dtype


@pytest.mark.parametrize("make", [list, tuple, np.array, pd.Index, pd.CategoricalIndex])
def test_sequences(make):
    made = di.images(make(["a.png", "b.png"]))
    assert made.dtype == "image[file]"
    assert made.img.path.tolist() == ["a.png", "b.png"]
    assert made.index.tolist() == [0, 1]


@pytest.mark.parametrize("lazy", [False, True])
def test_base64(lazy):
    series = pd.Series([URL.partition(",")[2], None, "%%%"])
    series = dd.from_pandas(series, npartitions=1) if lazy else series
    made = di.images(series, kind="base64", on_error="null")
    assert (made.dtype, made.dtype.on_error) == ("image[encoded]", "null")
    width, check = dask.compute(made.img.width, made.img.check())
    assert width.tolist() == [5, pd.NA, pd.NA]
    assert "cannot identify" in check[2]


def test_a_data_url_is_no_place():
    made = di.images(pd.Series([URL, "a.png"]))
    assert made.img.path.tolist() == [pd.NA, "a.png"]
    assert made.iloc[:1].img.read().iloc[0] == di.Image(png())
    assert made.iloc[0].to_numpy().shape == (3, 5, 3)
    assert "base64" not in str(made)


def test_damaged_text_is_a_failed_row():
    rows = ["data:image/png;base64,A", "data:,x", "x" * 5000, "<PIL.Image.Image image mode=RGB>"]
    made = di.images(pd.Series(rows), on_error="null")
    reasons = made.img.check().tolist()
    assert ["cannot identify" in reason for reason in reasons] == [True, True, False, False]
    assert "base64" in reasons[2]
    assert "convert-string" in reasons[3]
    assert all(len(reason) < 500 for reason in reasons)


@pytest.mark.parametrize("cell", [np.zeros((4, 5, 3), "uint8"), PIL.Image.new("RGB", (5, 4))])
def test_objects_that_dask_made_text(cell):
    frame = dd.from_pandas(pd.DataFrame({"picture": [cell]}), npartitions=1)
    with pytest.raises(di.ImageError, match="convert-string"):
        frame.picture.astype("image").img.width.compute()


@pytest.mark.parametrize("values", [[1, 2], [1.5], [True]])
def test_numbers_are_no_paths(values):
    with pytest.raises(TypeError, match="takes paths"):
        di.images(pd.Series(values))


def test_pictures_that_were_exploded(one_thread):
    cell = {"bytes": png(), "path": None}
    frame = pd.DataFrame({"images": [[cell, cell], [cell], []]})
    with dask.config.set({"dataframe.convert-string": False}):
        lazy = dd.from_pandas(frame, npartitions=2).explode("images")
        assert lazy.images.astype("image").img.width.compute().fillna(0).tolist() == [5, 5, 5, 0]
        assert di.images(lazy.images).compute().dtype == "image[mixed]"


def test_objects_write_what_was_declared(tmp_path, one_thread):
    with dask.config.set({"dataframe.convert-string": False}):
        lazy = dd.from_pandas(pd.DataFrame({"x": [png(), {"bytes": png()}]}), npartitions=2)
        lazy = lazy.assign(x=lazy.x.astype("image"))
        lazy.img.write_parquet(str(tmp_path / "out"))
    back = di.read_parquet(str(tmp_path / "out"))
    assert back.dtypes["x"] == "image[mixed]"
    assert back.x.img.width.compute().tolist() == [5, 5]


# -- messages ------------------------------------------------------------------------------------
BIG = bytes(300_000)


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.Series([{"bytes": BIG, "other": 1}], dtype=object).astype("image"),
        lambda: pd.Series([{BIG: 1}], dtype=object).astype("image"),
        lambda: pd.Series([BIG], dtype=object).astype("image[file]"),
        lambda: pd.Series(["x" * 300_000]).astype("image[encoded]"),
        lambda: pd.Series([["x" * 300_000]], dtype=object).astype("image"),
        lambda: di.images(pd.Series(["x" * 300_000])).img.mean(),
        lambda: di.images(pd.Series(["data:," + "x" * 300_000])).img.mean(),
        lambda: pd.Series([BIG], dtype="image").img.mean(),
        lambda: pd.Series([np.zeros((9, 9))], dtype="image").img.apply(_complain),
    ],
)
def test_messages_hold_no_whole_cell(make):
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert len(str(caught.value)) < 2000


def _complain(pixels):
    raise ValueError("x" * 300_000)


def test_apply_keeps_the_policy():
    column = pd.Series([png(), b"?"], dtype="image").img.on_error("null")
    made = column.img.apply(lambda pixels: pixels, dtype="image[uint8]")
    assert made.dtype.on_error == "null"
    assert made.img.mean().isna().tolist() == [False, True]


JPEG = io.BytesIO()
PIL.Image.new("RGB", (5, 3), (255, 250, 9)).save(JPEG, "JPEG")
PLAIN = URL.partition(",")[2]
LINES = "\r\n".join(PLAIN[n : n + 40] for n in range(0, len(PLAIN), 40))
TEXTS = {
    "lines": LINES,
    "no padding": PLAIN.rstrip("="),
    "space around": f" \n{PLAIN}\n ",
    "url-safe": base64.urlsafe_b64encode(JPEG.getvalue()).decode(),
    "a URL of lines": f"data:image/png;base64,\n{LINES}",
    "a URL behind space": f" {URL}",
    "a shouted URL": URL.replace("data:image/png;base64", "DATA:IMAGE/PNG;BASE64"),
}


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["path", "base64"])
@pytest.mark.parametrize("make", [str, str.encode], ids=["text", "bytes"])
def test_forms_of_base64(text, kind, make, one_thread):
    if make is not str and kind == "path":
        pytest.skip("bytes are the picture's own")
    given = pd.Series([make(TEXTS[text]), None], dtype=object)
    lazy = dd.from_pandas(given.astype("string") if make is str else given, npartitions=1)
    for column in (given, given.astype("category"), *([lazy] if make is str else [])):
        made = di.images(column, kind=kind).img.width
        assert (made.compute() if hasattr(made, "compute") else made).tolist() == [5, pd.NA]
    cell = pd.Series([{"bytes": TEXTS[text], "path": "a.png"}], dtype="image").iloc[0]
    assert cell.to_numpy().shape == (3, 5, 3)


@pytest.mark.parametrize("lazy", [False, True])
def test_json_columns(lazy, one_thread):
    series = pd.Series([{"bytes": png(), "path": None}, None], dtype="json")
    made = di.images(dd.from_pandas(series, npartitions=1) if lazy else series).img.width
    assert (made.compute() if lazy else made).tolist() == [5, pd.NA]


def test_an_index_of_dask(tmp_path, one_thread):
    (tmp_path / "a.png").write_bytes(png())
    frame = dd.from_pandas(pd.DataFrame({"n": [1]}, index=[str(tmp_path / "a.png")]), npartitions=1)
    assert di.images(frame.index).img.width.compute().tolist() == [5]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (pd.DataFrame({"a": ["x.png"]}), r"df\[name\]"),
        (np.zeros((2, 3, 4, 3), "uint8"), "from_array"),
        (pd.Series([["a.png", "b.png"]]), "explode"),
    ],
)
def test_no_column_of_pictures(given, says):
    with pytest.raises(TypeError, match=says):
        di.images(given)
