"""Parquet: what is written comes back equal, and everybody can read it."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import subprocess
import sys

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskimg as di
from daskimg.testing import make_images
from tests.versions import ARROW

RNG = np.random.default_rng(0)


def _array(shape, dtype="uint8"):
    return (RNG.random(shape) * 200).astype(dtype)


def _cells(kind: str) -> pd.Series:
    """Three good cells, one failed with a reason and a path, one missing."""
    failed = di.Image(None, path="/pics/bad.jpg", error="decode: OSError: broken")
    if kind == "file":
        good = [di.Image(path=f"/pics/{k}.jpg") for k in range(3)]
    elif kind == "encoded":
        good = [
            di.Image(bytes([k] * (k + 1)), path=f"/pics/{k}.jpg" if k else None) for k in range(3)
        ]
    elif kind.startswith("tensor"):
        dtype = pd.api.types.pandas_dtype(kind)
        shapes = [dtype.shape or (4, k + 2) for k in range(3)]
        good = [di.Image(_array(shape, dtype.cell_dtype or "int32")) for shape in shapes]
    else:
        dtype = pd.api.types.pandas_dtype(kind)
        shapes = [dtype.shape or (4 + k, 5, 3)[: 2 + k % 2] for k in range(3)]
        name = "uint8" if dtype.cells == "pixels" else dtype.cells
        kinds = ["uint16", name, name] if dtype.cells == "pixels" else [name] * 3
        good = [
            di.Image(_array(shape, one), path=f"/pics/{k}.png")
            for k, (shape, one) in enumerate(zip(shapes, kinds, strict=True))
        ]
    name = kind if "[" in kind else f"image[{kind}]"
    cells = di.ImageArray.of(
        [good[0], failed, good[1], None, good[2]], di.ImageDtype.construct_from_string(name)
    )
    return pd.Series(cells).img.on_error("null")


KINDS = [
    "file",
    "encoded",
    "image[pixels]",
    "image[uint8]",
    "image[uint16]",
    "image[float32]",
    "image[uint8, 6x5x3]",
    "image[uint16, 6x5]",
    "image[float32, 6x5x4]",
    "image[bool, 6x5]",
    "tensor[float32, 8]",
    "tensor[float16, 3x4]",
    "tensor[uint8, 2x3x4]",
    "tensor[int64]",
    "tensor[pixels]",
]


def assert_same(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, wanted, check_freq=False)
    for name, dtype in wanted.dtypes.items():
        if not isinstance(dtype, di.ImageDtype):
            continue
        assert found[name].dtype.on_error == dtype.on_error
        assert found[name].img.error.equals(wanted[name].img.error)
        assert found[name].img.path.equals(wanted[name].img.path)
        assert found[name].isna().equals(wanted[name].isna())


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    make_images(folder, 10, size=((8, 10), (12, 14)), broken=4)
    return str(folder)


@pytest.fixture
def frame(pictures):
    return di.read_images(pictures, on_error="null", files_per_partition=5)


# -- round trips --------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_equal(kind, tmp_path):
    frame = pd.DataFrame({"id": range(5), "x": _cells(kind), "name": list("abcde")})
    frame["name"] = frame["name"].astype("string[pyarrow]")
    result = frame.img.write_parquet(tmp_path / "out", embed=False)
    assert (result.rows, result.failed, result.missing) == (5, 1, 1)
    assert result.reasons == {"broken": 1}
    lazy = di.read_parquet(tmp_path / "out")
    assert_same(lazy.compute(), frame)
    assert lazy.x.dtype == frame.x.dtype
    assert str(lazy._meta.dtypes.astype(str)) == str(frame.dtypes.astype(str))


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_and_no_pictures(kind, tmp_path):
    frame = pd.DataFrame({"x": _cells(kind), "n": range(5)})
    frame.iloc[:0].img.write_parquet(tmp_path / "none", embed=False)
    assert_same(di.read_parquet(tmp_path / "none").compute(), frame.iloc[:0])
    frame.iloc[[3]].reset_index(drop=True).img.write_parquet(tmp_path / "null", embed=False)
    found = di.read_parquet(tmp_path / "null").compute()
    assert_same(found, frame.iloc[[3]].reset_index(drop=True))


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("kind", KINDS)
def test_slices_write_their_own_rows(kind, tmp_path):
    frame = pd.DataFrame({"x": _cells(kind)}).iloc[1:4]
    frame.img.write_parquet(tmp_path / "out", embed=False)
    assert_same(di.read_parquet(tmp_path / "out").compute(), frame)


def test_a_dask_frame_with_empty_partitions(frame, tmp_path):
    frame = frame.assign(
        small=frame.image.img.decode("RGB").img.resize(4, 5),
        any=frame.image.img.decode(),
        width=frame.image.img.width,
    )
    frame["image"] = frame.image.img.read()
    kept = frame[frame.path.str.contains("broken|00009")]
    wanted = kept.compute()
    result = kept.img.write_parquet(tmp_path / "out")
    assert (result.rows, result.failed) == (len(wanted), 4)
    found = di.read_parquet(tmp_path / "out")
    assert_same(found.compute(), wanted)
    nothing = frame[frame.path == "nowhere"]
    nothing.img.write_parquet(tmp_path / "empty")
    back = di.read_parquet(tmp_path / "empty").compute()
    assert back.dtypes.equals(wanted.dtypes)
    assert len(back) == 0


def test_the_index_is_kept(tmp_path):
    cells = _cells("image[uint8]")
    for index in (
        pd.RangeIndex(5),
        pd.RangeIndex(7, 12, name="row"),
        pd.Index([5, 3, 1, 9, 0]),
        pd.Index(list("edcba"), name="key", dtype="string[pyarrow]"),
        pd.date_range("2024", periods=5, name="day"),
    ):
        frame = pd.DataFrame({"x": cells.array}, index=index)
        frame.img.write_parquet(tmp_path / "out", mode="overwrite")
        assert_same(di.read_parquet(tmp_path / "out").compute(), frame)


def test_a_range_index_is_global_and_divisions_known(frame, tmp_path):
    frame.img.write_parquet(tmp_path / "out")
    found = di.read_parquet(tmp_path / "out")
    assert found.divisions == frame.divisions
    assert found.npartitions == 3
    assert found.compute().index.equals(pd.RangeIndex(14))
    assert pq.read_schema(tmp_path / "out" / "part-00001.parquet").names == [
        "path",
        "image",
        "image.error",
    ]


def test_partition_cols(frame, tmp_path):
    text = pd.StringDtype("pyarrow")
    wanted = frame.compute().assign(
        code=pd.array(["007", "a/b", "x=1 %", None] * 3 + ["007", "b"], text),
        n=[1, 2] * 7,
        flag=[True, False] * 7,
    )
    wanted["image"] = wanted.image.img.read()
    lazy = dd.from_pandas(wanted, npartitions=3)
    lazy.img.write_parquet(tmp_path / "out", partition_cols=["code", "n", "flag"])
    assert (tmp_path / "out" / "code=a%2Fb" / "n=2" / "flag=False").is_dir()
    found = di.read_parquet(tmp_path / "out")
    assert_same(found.compute().sort_index()[list(wanted)], wanted)
    some = di.read_parquet(tmp_path / "out", filters=[("code", "==", "007")], columns=["path", "n"])
    assert some.npartitions == 3
    assert some.compute().sort_index().equals(wanted[wanted.code == "007"][["path", "n"]])


def test_a_failed_cell_under_raise_is_not_lost(tmp_path):
    frame = pd.DataFrame({"x": _cells("image[uint8]").img.on_error("raise")})
    with pytest.raises(di.ImageError, match="broken"):
        frame.img.write_parquet(tmp_path / "out")


def test_bad_columns(frame, tmp_path):
    taken = frame.assign(**{"image.error": 1})
    with pytest.raises(ValueError, match=r"'image\.error' is where"):
        taken.img.write_parquet(tmp_path / "out")
    with pytest.raises(ValueError, match="no column 'shop'"):
        frame.img.write_parquet(tmp_path / "out", partition_cols="shop")
    with pytest.raises(ValueError, match="holds pictures"):
        frame.img.write_parquet(tmp_path / "out", partition_cols="image")
    with pytest.raises(ValueError, match="compression: 'zip'"):
        frame.img.write_parquet(tmp_path / "out", compression="zip")
    assert not (tmp_path / "out").exists()


# -- errors= ------------------------------------------------------------------------------------
def test_errors_hold_the_failed_rows_to_try_again(frame, tmp_path):
    frame = frame.assign(image=frame.image.img.resize(4, 4), n=frame.path.str.len())
    result = frame.img.write_parquet(tmp_path / "out", errors=tmp_path / "errors")
    assert result.failed == 4
    again = di.read_parquet(tmp_path / "errors")
    found = again.compute()
    assert found.image.dtype == "image[file]"
    assert found.path.str.contains("broken").all()
    assert found["column"].unique().tolist() == ["image"]
    assert found["error"].str.startswith("decode: ").all()
    assert found.image.img.path.tolist() == found.path.tolist()
    assert again.image.img.check().compute().notna().all()
    good = frame[~frame.path.str.contains("broken")]
    good.img.write_parquet(tmp_path / "out", mode="overwrite", errors=tmp_path / "none")
    assert len(di.read_parquet(tmp_path / "none")) == 0


# -- one pass -----------------------------------------------------------------------------------
def test_writing_and_grouping_decode_each_file_once(pictures, tmp_path):
    frame = di.read_images(pictures, on_error="null").assign(kind="a")
    frame = frame.assign(
        bright=frame.image.img.brightness(), small=frame.image.img.decode("RGB").img.resize(4, 4)
    )
    written = frame.img.write_parquet(tmp_path / "out", compute=False)
    thumbs = frame.assign(image=frame.small)[["path", "image"]]
    files = thumbs.img.write_images(tmp_path / "thumbs", compute=False)
    di.metrics.reset()
    means, result, thumb = dask.compute(frame.groupby("kind").bright.mean(), written, files)
    counts = di.metrics.snapshot()
    assert (counts["fetch"], counts["decode"]) == (14, 14)
    assert (result.rows, result.failed, thumb.rows, thumb.failed) == (14, 4, 14, 4)
    assert means["a"] == pytest.approx(frame.bright.mean().compute())


def test_what_is_not_used_is_not_read(frame, tmp_path, monkeypatch):
    frame.img.write_parquet(tmp_path / "out")
    found = di.read_parquet(tmp_path / "out")
    read: list[list[str]] = []
    whole = pq.ParquetFile.read_row_group

    def spy(self, group, columns=None, **kwargs):
        read.append(columns)
        return whole(self, group, columns, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    assert found[["path"]].compute().shape == (14, 1)
    assert found.groupby("path").size().compute().sum() == 14
    assert {tuple(columns) for columns in read} == {("path",)}


# -- filters and blocks -------------------------------------------------------------------------
def test_filters(frame, tmp_path, monkeypatch):
    frame = frame.assign(n=frame.path.str.len() * 0 + 1)
    wanted = frame.compute().assign(n=range(14), day=pd.date_range("2024", periods=14))
    wanted["image"] = wanted.image.img.read()
    dd.from_pandas(wanted, npartitions=7).img.write_parquet(tmp_path / "out")
    for filters, keep in [
        ([("n", ">", 4), ("n", "<=", 9)], wanted.n.between(5, 9)),
        ([[("n", "==", 3)], [("n", "in", [0, 12])]], wanted.n.isin([0, 3, 12])),
        ([("n", "!=", 3), ("n", "not in", [4, 5])], ~wanted.n.isin([3, 4, 5])),
        ([("day", ">=", pd.Timestamp("2024-01-10"))], wanted.n >= 9),
        ([("n", "<", -1)], wanted.n < -1),
    ]:
        found = di.read_parquet(tmp_path / "out", filters=filters)
        pd.testing.assert_frame_equal(found.compute(), wanted[keep], check_index_type=False)
    assert di.read_parquet(tmp_path / "out", filters=[("n", "==", 3)]).npartitions == 1
    with pytest.raises(ValueError, match="no column 'm'"):
        di.read_parquet(tmp_path / "out", filters=[("m", "==", 3)])
    with pytest.raises(ValueError, match="'like'"):
        di.read_parquet(tmp_path / "out", filters=[("n", "like", 3)])
    with pytest.raises(ValueError, match="a list of"):
        di.read_parquet(tmp_path / "out", filters="n > 3")


def test_row_groups_are_bounded_and_split(tmp_path):
    pixels = np.random.default_rng(0).random((40, 512, 512), "float32")  # 40 MiB
    dtype = di.ImageDtype("float32", (512, 512))
    frame = pd.DataFrame({"x": di.ImageArray.of([di.Image(p) for p in pixels], dtype)})
    frame.img.write_parquet(tmp_path / "out", compression=None)
    footer = pq.read_metadata(tmp_path / "out" / "part-00000.parquet")
    assert [footer.row_group(k).num_rows for k in range(footer.num_row_groups)] == [31, 9]
    assert di.read_parquet(tmp_path / "out", blocksize="1GiB").npartitions == 1
    found = di.read_parquet(tmp_path / "out", blocksize="1MiB")
    assert found.divisions == (0, 31, 39)
    assert found.x.img.max().compute().tolist() == pixels.max(axis=(1, 2)).tolist()
    with pytest.raises(ValueError, match="at least one byte"):
        di.read_parquet(tmp_path / "out", blocksize=0)


# -- other programs -----------------------------------------------------------------------------
PLAIN = """
import sys, io
import pandas as pd, pyarrow.parquet as pq, pyarrow.dataset as ds
from PIL import Image
place = sys.argv[1]
frame = pd.read_parquet(place)
assert len(frame) == 14, frame
assert frame.index.tolist() == list(range(14))
cell = frame.image[0]
assert set(cell) == {"bytes", "path"}
assert Image.open(io.BytesIO(cell["bytes"])).format in ("JPEG", "PNG")
assert frame.small[0].shape == (4 * 5 * 3,)
assert frame["any"][0]["shape"].tolist()[2] == 3
assert frame["small"][10] is None and "decode: " in frame["small.error"][10]
table = pq.read_table(place)
tensor = table["small"].type
assert tensor.extension_name == "arrow.fixed_shape_tensor" and tensor.shape == [4, 5, 3]
first = sum(frame.small[k].sum() for k in range(3))
assert ds.dataset(place).count_rows() == 14
assert "daskimg" not in sys.modules
print(int(first))
"""


def test_how_pixels_are_encoded(frame, tmp_path):
    small = frame.image.img.decode("RGB").img.resize(4, 5)
    vectors = di.from_array(np.zeros((14, 8), "float32"), column="v")
    norm = small.img.normalize([0.5] * 3, [0.5] * 3)
    frame = frame.assign(image=frame.image.img.read(), small=small, norm=norm)
    frame = frame.compute().assign(v=vectors.compute().v)
    frame.img.write_parquet(tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*.parquet")
    group = pq.read_metadata(file).row_group(0)
    columns = {c.path_in_schema: c for c in map(group.column, range(group.num_columns))}
    assert "RLE_DICTIONARY" in columns["norm.list.element"].encodings
    for name in ("small", "v"):
        assert "BYTE_STREAM_SPLIT" in columns[f"{name}.list.element"].encodings
    assert all(column.compression == "ZSTD" for column in columns.values())
    assert {name for name, c in columns.items() if c.statistics is None} == {
        *("image.bytes", "image.path"),
        *(f"{name}.list.element" for name in ("small", "norm", "v")),
    }
    assert_same(di.read_parquet(tmp_path / "out").compute(), frame)
    frame[["small"]].img.write_parquet(tmp_path / "plain", compression=None)
    (file,) = (tmp_path / "plain").glob("*.parquet")
    assert "RLE_DICTIONARY" in pq.read_metadata(file).row_group(0).column(0).encodings


@pytest.mark.skipif(ARROW < 26, reason="a missing tensor is read by pyarrow from 26 on")
def test_plain_pandas_and_pyarrow_read_it(frame, tmp_path):
    small = frame.image.img.decode("RGB").img.resize(4, 5)
    frame = frame.assign(small=small, any=frame.image.img.decode())
    frame.img.write_parquet(tmp_path / "out")
    script = tmp_path / "plain.py"
    script.write_text(PLAIN)
    command = [sys.executable, str(script), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == int(small.compute().iloc[:3].img.to_numpy().sum())


def test_hugging_face_metadata(frame, tmp_path):
    frame.img.write_parquet(tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out" / "part-00000.parquet")
    assert schema.field("image").type == pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    info = json.loads(schema.metadata[b"huggingface"])
    assert info == {"info": {"features": {"image": {"_type": "Image"}}}}


def test_reading_what_hugging_face_writes(pictures, tmp_path):
    data = di.read_images(pictures).image.img.to_bytes().compute()[:3].tolist()
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": b, "path": f"{k}.jpg"} for k, b in enumerate(data)] + [None], kind)
    table = pa.table({"image": cells, "label": pa.array([1, None, 3, 4])})
    info = {"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "Value"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    found = di.read_parquet(str(tmp_path / "train-*.parquet"), on_error="null")
    assert found.dtypes.astype(str).tolist() == ["image[encoded]", "Int64"]
    frame = found.compute()
    assert frame.image.img.to_bytes()[:3].tolist() == data
    assert frame.image.img.path.tolist() == ["0.jpg", "1.jpg", "2.jpg", pd.NA]
    assert frame.image.isna().tolist() == [False, False, False, True]
    assert frame.label.tolist() == [1, pd.NA, 3, 4]
    assert found.image.img.brightness().compute().notna().tolist() == [True, True, True, False]


def test_files_that_were_not_embedded(pictures, tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    paths = di.read_images(pictures).path.compute()[:3].tolist()
    cells = pa.array([{"bytes": None, "path": path} for path in paths], kind)
    pq.write_table(pa.table({"image": cells}), tmp_path / "a.parquet")
    found = di.read_parquet(tmp_path / "a.parquet")
    assert found.image.dtype == "image[file]"
    assert found.image.img.height.compute().notna().all()


def test_named_columns(pictures, tmp_path):
    paths = di.read_images(pictures).path.compute()[:3].tolist()
    data = di.read_images(pictures).image.img.to_bytes().compute()[:3].tolist()
    pq.write_table(pa.table({"b": data, "p": paths, "n": [1, 2, 3]}), tmp_path / "a.parquet")
    plain = di.read_parquet(tmp_path / "a.parquet")
    assert not any(isinstance(dtype, di.ImageDtype) for dtype in plain.dtypes)
    found = di.read_parquet(tmp_path / "a.parquet", image_columns=["b", "p"])
    assert found.dtypes.astype(str).tolist() == ["image[encoded]", "image[file]", "int64"]
    both = dask.compute(found.b.img.mean(), found.p.img.mean())
    assert both[0].tolist() == both[1].tolist()
    with pytest.raises(ValueError, match=r"no column 'q'.*'b', 'p', 'n'"):
        di.read_parquet(tmp_path / "a.parquet", image_columns=["q"])
    with pytest.raises(ValueError, match="neither bytes nor paths but int64"):
        di.read_parquet(tmp_path / "a.parquet", image_columns="n")


def test_arrow_tensors(tmp_path):
    columns = {}
    for name, shape in {"grey": (4, 5), "rgb": (4, 5, 3), "masks": (2, 4, 5), "vec": (8,)}.items():
        columns[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(_array((3, *shape)))
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    found = di.read_parquet(tmp_path / "a.parquet")
    assert found.dtypes.astype(str).tolist() == [
        "image[uint8, 4x5]",
        "image[uint8, 4x5x3]",
        "tensor[uint8, 2x4x5]",
        "tensor[uint8, 8]",
    ]
    assert np.array_equal(found.rgb.compute().img.to_numpy(), columns["rgb"].to_numpy_ndarray())


def test_what_dask_writes(frame, tmp_path):
    frame = frame.assign(
        image=frame.image.img.read(), small=frame.image.img.decode("RGB").img.resize(4, 5)
    )
    frame.to_parquet(tmp_path / "out")
    wanted = frame.compute()
    found = di.read_parquet(tmp_path / "out").compute()
    assert_same(found.rename_axis(index=None), wanted)


def test_strings_numbers_and_nulls_keep_their_dtypes(tmp_path):
    text = pd.StringDtype("pyarrow")
    frame = pd.DataFrame(
        {
            "x": _cells("encoded"),
            "s": pd.array(["a", None, "c", "d", "e"], text),
            "i": pd.array([1, None, 3, 4, 5], "Int64"),
            "f": [0.5, np.nan, 1, 2, 3],
            "b": pd.array([True, None, False, True, True], "boolean"),
            "t": pd.date_range("2024", periods=5),
            "c": pd.Categorical(list("aabba")),
        }
    )
    frame.img.write_parquet(tmp_path / "out")
    assert_same(di.read_parquet(tmp_path / "out").compute(), frame)


def test_what_is_no_text_stays_what_it_is(tmp_path):
    day, price = datetime.date(2024, 1, 2), decimal.Decimal("1.50")
    table = pa.table(
        {
            "boxes": pa.array([[[1, 2]], None, []], pa.list_(pa.list_(pa.int64()))),
            "tag": pa.array([{"name": "cat", "score": 0.5}, None, {"name": "dog", "score": None}]),
            "day": [day] * 3,
            "price": [price] * 3,
            "raw": [b"\xff\x00", b"", None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    df = di.read_parquet(tmp_path / "a.parquet")
    assert df.dtypes.astype(str).tolist() == ["json", "json", "object", "object", "object"]
    got = df.compute()
    assert got.boxes[0] == [[1, 2]]
    assert got.tag[2] == {"name": "dog", "score": None}
    assert got.isna().sum().tolist() == [1, 1, 0, 0, 1]
    assert (got.day[0], got.price[0], got.raw[0]) == (day, price, b"\xff\x00")


# -- bad files ----------------------------------------------------------------------------------
def test_bad_files(tmp_path, frame):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        di.read_parquet(tmp_path / "nowhere")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match=r"a\.parquet is no Parquet file"):
        di.read_parquet(tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "c.parquet")
    found = di.read_parquet([tmp_path / "b.parquet", tmp_path / "c.parquet"]).compute()
    assert found.b.tolist() == ["x", pd.NA]  # what a file lacks is null there
    pq.write_table(pa.table({"a": [True]}), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match=r"c\.parquet: the column 'a' is bool, and int64 in"):
        di.read_parquet([tmp_path / "b.parquet", tmp_path / "c.parquet"])
    with pytest.raises(ValueError, match=r"no column 'z'; there are \['a', 'b'\]"):
        di.read_parquet(tmp_path / "b.parquet", columns=["z"])
    with pytest.raises(ValueError, match='on_error is "raise" or "null"'):
        di.read_parquet(tmp_path / "b.parquet", on_error="skip")


def test_credentials_go_to_files_alone(tmp_path, frame):
    options = {"anon": True}
    frame.assign(image=frame.image.img.read()).img.write_parquet("memory://cred/encoded")
    frame.img.write_parquet("memory://cred/files", embed=False)
    encoded = di.read_parquet("memory://cred/encoded", storage_options=options)
    files = di.read_parquet("memory://cred/files", storage_options=options)
    assert encoded.image.dtype.source is None
    assert files.image.dtype.source is not None
    assert files.image.img.width.compute().notna().sum() == 12


def test_images_inside_decode(pictures, tmp_path):
    """A picture of every column can be shown: bytes are a file's own."""
    frame = di.read_images(pictures, on_error="null")
    frame.img.write_parquet(tmp_path / "out")
    first = di.read_parquet(tmp_path / "out").image.compute().iloc[0]
    import PIL.Image

    assert PIL.Image.open(io.BytesIO(first.to_bytes())).size == (first.to_numpy().shape[1::-1])


@pytest.mark.parametrize(
    "values",
    [
        pd.array([2**63 + 1, 2**63 + 2, None], "UInt64"),
        pd.array([2**63 + 1, 2**64 - 1, 5], "uint64"),
        pd.array([True, None, False], "boolean"),
        pd.array([2**62 + 1, 2**62 + 2, None], "Int64"),
        pd.array(["007", "7", None], "string[pyarrow]"),
    ],
    ids=lambda values: str(values.dtype),
)
def test_folders_of_values_are_these_values(tmp_path, values):
    frame = pd.DataFrame({"key": values, "row": range(3)})
    frame.img.write_parquet(tmp_path / "table", partition_cols="key")
    back = di.read_parquet(tmp_path / "table").compute().sort_values("row").key
    assert back.dtype == frame.key.dtype
    assert back.tolist() == frame.key.tolist()


def test_no_columns_are_no_columns(tmp_path):
    pd.DataFrame({"a": [1, 2], "b": [3, 4]}).img.write_parquet(tmp_path / "table")
    found = di.read_parquet(tmp_path / "table", columns=[])
    assert found.compute().shape == (2, 0)
    assert len(found) == 2


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize("op", ["!=", "not in"])
@pytest.mark.parametrize("other", [None, float("nan")])
def test_what_a_filter_passes_does_not_depend_on_row_groups(tmp_path, rows, op, other):
    values = pa.array([5.0, other, 5.0, 1.0] if other else [5, None, 5, 1])
    table = pa.table({"x": values, "row": range(4)})
    whole = [("x", op, 5 if op == "!=" else [5])]
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=rows)
    found = di.read_parquet(tmp_path / "x.parquet", filters=whole)
    assert found.row.compute().tolist() == ([3] if op == "!=" and other is None else [1, 3])


def test_a_null_folder_is_not_in_a_list(tmp_path):
    frame = pd.DataFrame({"key": pd.array([1, None, 3], "Int64"), "row": range(3)})
    frame.img.write_parquet(tmp_path / "table", partition_cols="key")
    for values, rows in (([1], [1, 2]), ([1, 3], [1]), ([7], [0, 1, 2])):
        found = di.read_parquet(tmp_path / "table", filters=[("key", "not in", values)])
        assert sorted(found.row.compute()) == rows
    found = di.read_parquet(tmp_path / "table", filters=[("key", "!=", 1)])
    assert found.row.compute().tolist() == [2]


def test_two_columns_of_one_name_are_told(tmp_path):
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], ["a", "a"]), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="two columns have one name"):
        di.read_parquet(tmp_path / "x.parquet")
