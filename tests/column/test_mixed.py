"""Columns whose cells are each a path, bytes or pixels: what concatenating several kinds makes."""

from __future__ import annotations

import io
import itertools
import pickle

import dask.dataframe as dd
import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskimg as di
from tests.column.test_array import records

SIZE = {"image[file]": (5, 3), "image[encoded]": (7, 2), "image[pixels]": (6, 4)}


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("RGB", (width, height), (width, 0, height)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def kinds(tmp_path):
    """A column of each kind: two pictures and a missing cell; the file's second is not there."""
    path = str(tmp_path / "a.png")
    with open(path, "wb") as file:
        file.write(png(5, 3))
    pixels = np.zeros((4, 6, 3), "uint8")
    columns = {
        "image[file]": [path, str(tmp_path / "gone.png"), None],
        "image[encoded]": [png(7, 2), b"no picture", None],
        "image[pixels]": [pixels, pixels.astype("float32"), None],
        "image[uint8, 4x6x3]": [pixels, pixels + 1, None],
    }
    return {name: pd.Series(cells, dtype=name) for name, cells in columns.items()}


PAIRS = [
    pair
    for pair in itertools.permutations(
        ("image[file]", "image[encoded]", "image[pixels]", "image[uint8, 4x6x3]"), 2
    )
    if "image[file]" in pair or "image[encoded]" in pair
]


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("lazy", [False, True])
def test_any_two_kinds_make_one_column(kinds, pair, lazy, one_thread):
    parts = [kinds[name] for name in pair]
    alone = [part.img.on_error("null") for part in parts]
    if lazy:
        both = dd.concat([dd.from_pandas(part, npartitions=2) for part in parts])
    else:
        both = pd.concat(parts)
    both = both.img.on_error("null")
    assert both.dtype == "image[mixed]"

    def values(make):
        made = make(both)
        return (made.compute() if lazy else made).tolist()

    for make in (
        lambda s: s.img.width,
        lambda s: s.img.height,
        lambda s: s.img.channels,
        lambda s: s.img.mode,
        lambda s: s.img.format,
        lambda s: s.img.nbytes,
        lambda s: s.img.path,
        lambda s: s.img.check(),
        lambda s: s.img.failed,
        lambda s: s.img.max(),
        lambda s: s.img.resize(2, 2).img.mean(),
        lambda s: s.img.decode("RGB").img.width,
        lambda s: s.img.encode("png").img.format,
        lambda s: s.img.crop(0, 0, 1, 1).img.error,
    ):
        want = [make(part).tolist() for part in alone]
        got = values(make)
        assert [str(x) for x in got] == [str(x) for x in want[0] + want[1]]


def test_what_is_read_is_bytes(kinds):
    both = pd.concat([*kinds.values()], ignore_index=True).img.on_error("null")
    read = both.img.read()
    assert read.dtype == "image[encoded]"
    assert read.iloc[0].data == png(5, 3)
    assert read.iloc[3].data == png(7, 2)
    assert read.img.format.iloc[6] == "PNG"
    assert np.flatnonzero(read.isna()).tolist() == [1, 2, 5, 7, 8, 11]
    assert "float32" in read.img.error.iloc[7]
    assert both.img.to_bytes().iloc[3] == png(7, 2)


def test_cells_are_what_they_were(kinds):
    both = pd.concat([*kinds.values()], ignore_index=True)
    cells = [cell for part in kinds.values() for cell in part]
    assert [type(a) for a in both] == [type(a) for a in cells]
    assert [a for a in both if a is not pd.NA] == [a for a in cells if a is not pd.NA]
    assert both.iloc[0].data is None
    assert isinstance(both.iloc[3].data, bytes)
    assert both.iloc[7].data.dtype == "float32"
    assert both.duplicated().tolist().count(True) == 4  # three missing, one of equal pixels
    assert both.astype(object).astype("image").dtype == "image[mixed]"


def test_leaving_the_process(kinds):
    both = pd.concat([*kinds.values()], ignore_index=True)
    want = records(both.array)
    assert records(pickle.loads(pickle.dumps(both)).array) == want
    arrow = pa.array(both.array)
    assert records(arrow.to_pandas().array) == want
    assert records(arrow[3:8].to_pandas().array) == want[3:8]
    assert records(both.array[2:9][1:]) == want[3:9]
    assert records(both.array.take([8, 0, 3])) == [want[8], want[0], want[3]]


def test_setting_cells(kinds):
    both = pd.concat([*kinds.values()], ignore_index=True)
    both.iloc[0] = png(1, 1)
    both.iloc[1] = di.Image(np.zeros((2, 2), "uint8"))
    both.iloc[3] = "other.png"
    both.iloc[4] = None
    assert both.iloc[0].data == png(1, 1)
    assert both.iloc[1].data.shape == (2, 2)
    assert both.iloc[3].path == "other.png"
    assert both.isna().iloc[4]


def test_an_empty_picture_is_no_path():
    both = pd.concat([pd.Series(["a.png"], dtype="image"), pd.Series([b""], dtype="image")])
    assert [cell.data for cell in pickle.loads(pickle.dumps(both))] == [None, b""]
    back = pa.array(both.array).to_pandas()
    assert [cell.data for cell in back] == [None, b""]


def test_casts(kinds):
    both = pd.concat([kinds["image[file]"], kinds["image[encoded]"]], ignore_index=True)
    assert both.iloc[:3].astype("image[file]").dtype == "image[file]"
    assert both.iloc[3:].astype("image[encoded]").iloc[0].data == png(7, 2)
    with pytest.raises(TypeError, match=r"\.img\.read\(\)"):
        both.astype("image[encoded]")
    with pytest.raises(TypeError, match=r"does not read"):
        both.astype("image[file]")
    assert kinds["image[file]"].astype("image[mixed]").iloc[0].path.endswith("a.png")
    assert pd.Series([png(1, 1), "a.png", None], dtype="image").dtype == "image[mixed]"


def test_null_wins_and_credentials_stay():
    file = di.ImageDtype("file", source="handle", on_error="raise")
    encoded = di.ImageDtype("encoded", on_error="null")
    common = file._get_common_dtype([file, encoded])
    assert (common, common.on_error, common.source) == ("image[mixed]", "null", "handle")


@pytest.mark.parametrize("embed", [True, False])
def test_parquet(kinds, tmp_path, embed, one_thread):
    both = pd.concat([*kinds.values()], ignore_index=True).img.on_error("null")
    target = str(tmp_path / "out")
    written = pd.DataFrame({"image": both, "n": range(12)})
    result = written.img.write_parquet(target, embed=embed)
    assert (result.rows, result.failed) == (12, int(embed))
    back = di.read_parquet(target).compute()
    assert back.image.dtype == "image[mixed]"
    assert back.image.isna().tolist() == [
        (cell is pd.NA) or (embed and row == 1) for row, cell in enumerate(both)
    ]
    assert back.image.img.width.tolist() == both.img.width.tolist()
    assert back.image.img.check().isna().tolist() == both.img.check().isna().tolist()
    assert back.image.iloc[7].data.dtype == "float32"
    assert (back.image.iloc[0].data is None) == (not embed)
    first = pq.read_table(target).column("image")[0].as_py()
    assert [*first] == ["bytes", "path"]  # as Hugging Face has it
    assert first["bytes"] == (png(5, 3) if embed else None)


def test_bytes_and_paths_of_other_programs(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": png(7, 2), "path": "b.png"}, {"bytes": None, "path": "a.png"}]
    array = pa.array([*rows, {"bytes": None, "path": None}, None], kind)
    cells = di.ImageDtype("mixed").__from_arrow__(array)
    assert cells.valid.tolist() == [True, True, False, False]
    assert [cell.path for cell in cells[:2]] == ["b.png", "a.png"]
    assert cells[1].data is None
