"""Image columns as Arrow arrays: no copies, and the same cells after any round trip."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import daskimg as di
from daskimg.column.arrow import ImageArrowType, storage_type
from tests.column.test_array import KINDS, column, memory, records


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def back(array: pa.Array | pa.ChunkedArray, dtype: di.ImageDtype) -> di.ImageArray:
    return dtype.__from_arrow__(array)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "image[file]"])
def test_no_copies(kind):
    array = column(kind, 20, nulls=False)
    arrow = pa.array(array)
    sent = np.frombuffer(arrow.storage.field("data").buffers()[2], np.uint8)
    assert np.shares_memory(sent, memory(array))
    got = back(arrow, array.dtype)
    assert np.shares_memory(memory(got), memory(array))
    part = pa.array(array[5:9])
    assert part.storage.field("data").buffers()[2].size < sent.nbytes
    assert np.shares_memory(
        np.frombuffer(part.storage.field("data").buffers()[2], np.uint8), memory(array)
    )
    assert np.shares_memory(memory(back(arrow[5:9], array.dtype)), memory(array))


@pytest.mark.parametrize("rows", [slice(0, 0), slice(1, 2), slice(5, 6), slice(2, 5), slice(0, 6)])
def test_round_trip(kind, rows):
    array = column(kind)
    for part, arrow in [
        (array[rows], pa.array(array[rows])),
        (array[rows], pa.array(array)[rows.start : rows.stop]),
    ]:
        arrow.validate(full=True)
        got = back(arrow, array.dtype)
        assert got.dtype == kind
        assert records(got) == records(part)


def test_all_null_and_empty(kind):
    dtype = pd.api.types.pandas_dtype(kind)
    for n in (0, 3):
        array = di.ImageArray.empty(n, dtype)
        got = back(pa.array(array), dtype)
        assert got.isna().all()
        assert len(got) == n
    assert len(back(pa.chunked_array([], ImageArrowType(dtype)), dtype)) == 0


def test_chunks_of_both_policies(kind):
    parts = []
    for policy in ("raise", "null"):
        array = column(kind)
        dtype = array.dtype.derive(array.dtype.cells, array.dtype.shape, on_error=policy)
        parts.append(di.ImageArray(dtype, array.valid, array.data, array.path, array.error))
    tables = [pa.table({"x": pa.array(part)}) for part in parts]
    table = pa.concat_tables(tables)
    got = table.to_pandas()["x"]
    assert got.dtype == kind
    assert records(got.array) == records(parts[0]) * 2


def test_types():
    small, large = (ImageArrowType(di.ImageDtype("uint8", shape)) for shape in [(2, 2), (4, 4)])
    assert small != large
    assert small != ImageArrowType(di.ImageDtype("float32", (2, 2)))
    assert small == ImageArrowType(di.ImageDtype("uint8", (2, 2), on_error="null"))
    assert hash(small) == hash(ImageArrowType(di.ImageDtype("uint8", (2, 2), on_error="null")))
    kept = pickle.loads(pickle.dumps(ImageArrowType(di.ImageDtype("file", on_error="null"))))
    assert kept.to_pandas_dtype().on_error == "null"
    narrow = pa.struct([("data", pa.binary()), ("path", pa.string())])
    odd = ImageArrowType(di.ImageDtype("encoded"), narrow)
    assert pickle.loads(pickle.dumps(odd)).storage_type == narrow


def test_metadata_holds_no_credentials():
    options = {"key": "AKIASECRET", "secret": "hush"}
    files = di.images(pd.Series(["s3://b/a.png"]), storage_options=options, on_error="null")
    schema = pa.Schema.from_pandas(files.to_frame("x"))
    assert "hush" not in schema.serialize().to_pybytes().decode("latin1")
    assert "AKIASECRET" not in schema.serialize().to_pybytes().decode("latin1")
    assert pa.array(files.array).type.to_pandas_dtype().on_error == "null"


def test_ipc_and_parquet(kind, tmp_path):
    frame = pd.DataFrame({"k": range(6), "x": column(kind)})
    table = pa.Table.from_pandas(frame)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    pyarrow.feather.write_feather(table, str(tmp_path / "a.feather"))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    frame.to_parquet(tmp_path / "b.parquet")
    for got in (
        pa.ipc.open_stream(sink.getvalue()).read_all().to_pandas(),
        pd.read_feather(tmp_path / "a.feather"),
        pq.read_table(tmp_path / "a.parquet").to_pandas(),
        pd.read_parquet(tmp_path / "b.parquet"),
        pd.read_parquet(tmp_path / "b.parquet", dtype_backend="pyarrow").astype({"x": kind}),
    ):
        assert got.x.dtype == kind
        assert records(got.x.array) == records(frame.x.array)
        assert got.k.tolist() == list(range(6))


def test_what_other_writers_cast_to(kind):
    array = column(kind)
    storage = pa.array(array).storage
    narrow = {pa.large_binary(): pa.binary(), pa.large_string(): pa.string()}
    fields = [pa.field(f.name, narrow.get(f.type, f.type)) for f in storage.type]
    if kind in ("image[pixels]", "image[uint8]"):
        fields[1] = pa.field("shape", pa.large_list(pa.int32()))
    cast = pa.StructArray.from_arrays(
        [storage.field(f.name).cast(f.type) for f in fields],
        fields=fields,
        mask=storage.is_null(),
    )
    for arrow in (cast, pa.chunked_array([cast[:2], cast[2:2], cast[2:]])):
        assert records(back(arrow, array.dtype)) == records(array)
    taken = pa.array(array).storage.take(pa.array([0, None, 2]))  # as a left join does
    assert back(taken, array.dtype).isna().tolist() == [False, True, False]


def test_a_null_struct_over_values():
    array = column("image[uint8]", nulls=False)
    storage = pa.array(array).storage
    masked = pa.StructArray.from_arrays(
        [storage.field(f.name) for f in storage.type],
        fields=list(storage.type),
        mask=pa.array([True, False, False, False, False, True]),
    )
    got = back(masked, array.dtype)
    assert got.isna().tolist() == [True, False, False, False, False, True]
    assert records(got)[0] == (None, None, None, False)


@pytest.mark.parametrize("text", [pa.string(), pa.large_string()])
def test_plain_strings_and_bytes(text):
    files = back(pa.array(["a.png", None], text), di.ImageDtype("file"))
    assert records(files)[1] == (None, None, None, False)
    assert files[0].path == "a.png"
    data = pa.array([b"x", None], pa.binary() if text == pa.string() else pa.large_binary())
    encoded = back(data, di.ImageDtype("encoded"))
    assert encoded[0].to_bytes() == b"x"
    assert encoded.isna().tolist() == [False, True]


def test_uniform_cells_of_odd_memory():
    values = np.arange(8, dtype="float32").reshape(2, 4)
    body = b"\0" + values.tobytes()
    offsets = np.array([1, 17, 33], np.int64)
    data = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(body)]
    )
    dtype = di.ImageDtype("float32", (4,), tensor=True)
    nulls = pa.nulls(2, pa.large_string())
    storage = pa.StructArray.from_arrays([data, nulls, nulls], fields=list(storage_type(dtype)))
    np.testing.assert_array_equal(np.stack(list(back(storage, dtype))), values)


def told(shape, dtype, data=b"abcdef"):
    """Two cells as an Arrow struct of ours: the first as it says, the second a good one."""
    text = pa.large_string()
    parts = {
        "data": pa.array([data, b"abcdef"], pa.large_binary()),
        "shape": pa.array([shape, [2, 3]], pa.list_(pa.int32())),
        "dtype": pa.array([dtype, "uint8"], pa.string()),
        "path": pa.array(["a.png", "b.png"], text),
        "error": pa.array([None, None], text),
    }
    return pa.StructArray.from_arrays(list(parts.values()), names=list(parts))


LIES = {
    "more": ([2, 4], "uint8"),
    "fewer": ([2, 2], "uint8"),
    "negative": ([-2, 3], "uint8"),
    "wide": ([2, 3], "float64"),
    "huge": ([2**31 - 1, 2**31 - 1, 2**31 - 1], "uint8"),
    "objects": ([2, 3], "object"),
    "no shape": (None, "uint8"),
    "a vector": ([6], "uint8"),
}


RAGGED = ["image[pixels]", "image[uint8]", "image[mixed]"]


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize(
    ("kind", "cell"),
    [(kind, LIES[lie]) for kind in RAGGED for lie in LIES]
    + [("image[uint8, 2x3]", ([2, 3], "uint8", data)) for data in (b"abcde", b"", b"abcdefg")],
)
def test_a_cell_that_lies_costs_its_row(kind, cell, tmp_path):
    struct = told(*cell)
    metadata = {
        "ARROW:extension:name": "daskimg.image",
        "ARROW:extension:metadata": json.dumps({"dtype": kind}),
    }
    field = pa.field("image", struct.type, metadata=metadata)
    pq.write_table(pa.table([struct], pa.schema([field])), tmp_path / "t.parquet")
    df = di.read_parquet(str(tmp_path / "t.parquet"), on_error="null")
    assert df.image.img.mean().compute().isna().tolist() == [True, False]
    found = df.compute().image
    assert found.img.path.tolist() == ["a.png", "b.png"]
    assert found.img.error.str.contains("are not those of the cell's shape").tolist()[:1] == [True]
    assert found.iloc[1].to_numpy().tobytes() == b"abcdef"
    assert df.img.errors().compute().path.tolist() == ["a.png"]
    with pytest.raises(ValueError, match=r"cell's shape \(a\.png\)"):
        di.read_parquet(str(tmp_path / "t.parquet")).image.img.mean().compute()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        "{}",
        "[1]",
        '{"dtype": 7}',
        '{"dtype": "image[nope]"}',
        '{"dtype": "image[file]", "source": ["s3://b"]}',
        '{"dtype": "image[file]", "on_error": "maybe"}',
    ],
)
def test_metadata_of_a_stranger(text, tmp_path):
    with pytest.raises(ValueError, match=r"no dtype of an image column|on_error is"):
        di.ImageDtype.from_json(text)
    column = pa.array(["a.png"])
    metadata = {"ARROW:extension:name": "daskimg.image", "ARROW:extension:metadata": text}
    field = pa.field("image", column.type, metadata=metadata)
    pq.write_table(pa.table([column], pa.schema([field])), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet"):
        di.read_parquet(str(tmp_path / "t.parquet"))


def test_metadata_of_a_later_version():
    text = json.dumps({**json.loads(di.ImageDtype("file", on_error="null").to_json()), "new": 1})
    assert di.ImageDtype.from_json(text).on_error == "null"
