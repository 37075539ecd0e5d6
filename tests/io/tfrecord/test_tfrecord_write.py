"""TFRecords as they are written: for TensorFlow, and back."""

from __future__ import annotations

import decimal
import gzip
import struct
import zlib
from pathlib import Path

import dask
import google_crc32c
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.engine.program import STRING
from daskimg.io.rows import Record, failed, to_frame
from daskimg.testing import make_images
from daskimg.transport import fetch
from tests.io.tfrecord.test_tfrecord import BY_TENSORFLOW, frame_starts, png


@pytest.fixture
def pictures(tmp_path):
    make_images(tmp_path / "pictures", 6, size=(8, 10), broken=1)
    return di.read_images(tmp_path / "pictures", files_per_partition=4, on_error="null")


def test_bytes_as_tensorflow_writes_them(tmp_path):
    frame = pd.DataFrame({"label": [7]})
    result = frame.img.write_tfrecords(tmp_path / "out")
    assert Path(result.files[0]).read_bytes() == BY_TENSORFLOW[:34]


def test_the_framing_by_its_definition(tmp_path):
    result = pd.DataFrame({"x": [1, 2]}).img.write_tfrecords(tmp_path / "out")
    data = Path(result.files[0]).read_bytes()

    def masked(part):
        crc = google_crc32c.value(part)
        return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32

    for _ in range(2):
        (size,) = struct.unpack("<Q", data[:8])
        assert struct.unpack("<I", data[8:12])[0] == masked(data[:8])
        assert struct.unpack("<I", data[12 + size : 16 + size])[0] == masked(data[12 : 12 + size])
        data = data[16 + size :]
    assert data == b""


@pytest.mark.parametrize("compression", [None, "GZIP", "ZLIB"])
def test_round_trip(tmp_path, pictures, compression):
    frame = pictures[["image"]].assign(
        grey=pictures.image.img.convert("L").img.resize(4, 4),
        label=1,
        name="é",
        flag=True,
        score=0.25,
    )
    tags = frame.map_partitions(_with_lists, meta=_with_lists(frame._meta))
    metrics.reset()
    result = tags.img.write_tfrecords(tmp_path / "out", compression=compression)
    assert metrics.snapshot()["decode"] == 7
    assert (result.rows, result.failed) == (7, 1)
    ending = {None: "tfrecord", "GZIP": "tfrecord.gz", "ZLIB": "tfrecord.zlib"}[compression]
    assert [f.rpartition("/")[2] for f in result.files] == [
        f"part-0000{i}.{ending}" for i in range(2)
    ]
    unpack = {None: bytes, "GZIP": gzip.decompress, "ZLIB": zlib.decompress}[compression]
    assert len(frame_starts(unpack(Path(result.files[0]).read_bytes()))) == 4
    back = di.read_tfrecords(tmp_path / "out")
    made, kept = back.compute(), tags.compute().dropna(subset="grey")
    assert [x.to_bytes() for x in made.image] == [
        Path(path).read_bytes() for path in kept.image.img.path
    ]
    di.testing.assert_images_equal(
        made.grey.img.decode("L"), kept.grey.reset_index(drop=True), check_path=False
    )
    assert made.tags.tolist() == kept.tags.tolist()
    assert made[["label", "flag"]].to_numpy().tolist() == [[1, 1]] * 6
    assert made.score.tolist() == [0.25] * 6
    assert made.name.tolist() == ["é"] * 6


def _with_lists(part):
    words = [["a", "b"] for _ in range(len(part))]
    return part.assign(tags=pd.Series(words, index=part.index, dtype="json"))


def test_nulls_are_features_that_are_not_there(tmp_path):
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], "Int64"),
            "s": pd.array(["x", None], "string"),
            "b": pd.array([b"\xff", None], "large_binary[pyarrow]"),
            "t": pd.Series([np.arange(6.0).reshape(2, 3), None], dtype="tensor"),
            "image": pd.Series([None, png()], dtype="image[encoded]"),
        }
    )
    result = frame.img.write_tfrecords(tmp_path / "out")
    assert (result.rows, result.missing) == (2, 2)
    made = di.read_tfrecords(tmp_path / "out").compute()
    assert made.isna().to_numpy().sum() == 6  # t has a column of its shape
    assert made["t/shape"][0] == [2, 3]
    assert made.t[0] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert made.b[0] == b"\xff"


def test_what_no_feature_holds(tmp_path, pictures):
    floats = pictures.assign(image=pictures.image.img.decode("RGB").img.astype("float32"))
    with pytest.raises(ValueError, match=r"'image' is image\[float32\].*uint8"):
        floats.img.write_tfrecords(tmp_path / "out")
    for bad in ([{"a": 1}], [2**63], [["a", 1]]):
        with pytest.raises(ValueError, match="column 'x' does not fit"):
            pd.DataFrame({"x": pd.Series(bad, dtype=object)}).img.write_tfrecords(tmp_path / "out")
    with pytest.raises(ValueError, match="compression"):
        pictures.img.write_tfrecords(tmp_path / "out", compression="gz")


def test_the_same_bytes_every_time(tmp_path, pictures):
    one = pictures.img.write_tfrecords(tmp_path / "one", compression="GZIP")
    two = pictures.img.write_tfrecords(tmp_path / "two", compression="GZIP")
    for a, b in zip(one.files, two.files, strict=True):
        assert Path(a).read_bytes() == Path(b).read_bytes()
    with pytest.raises(FileExistsError):
        pictures.img.write_tfrecords(tmp_path / "one")


@pytest.mark.parametrize(
    "numbers",
    [[1, np.float32(2.5)], [np.int64(1), np.float64(2.5)], [True, 2.5], [np.float32(0.5), 3]],
)
def test_a_list_with_a_fraction_keeps_it(tmp_path, numbers):
    frame = pd.DataFrame({"list": pd.Series([numbers], dtype=object)})
    frame.img.write_tfrecords(tmp_path / "out")
    made = di.read_tfrecords(tmp_path / "out").compute().list[0]
    assert made == [float(number) for number in numbers]


@pytest.mark.parametrize("other", [decimal.Decimal("2.5"), pd.Timestamp("2024-01-05"), None])
@pytest.mark.parametrize("first", [1, 1.5])
def test_a_list_with_what_no_feature_holds(tmp_path, first, other):
    frame = pd.DataFrame({"list": pd.Series([[first, other]], dtype=object)})
    with pytest.raises(ValueError, match="'list' does not fit a TFRecord"):
        frame.img.write_tfrecords(tmp_path / "out")


@pytest.mark.parametrize("compression", [None, "GZIP", "ZLIB"])
def test_files_that_were_read_are_closed(tmp_path, monkeypatch, compression):
    pd.DataFrame({"a": [1, 2]}).img.write_tfrecords(tmp_path / "out", compression=compression)
    opened = []
    open_head = fetch.open_head

    def noted(*args, **kwargs):
        opened.append(open_head(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr(fetch, "open_head", noted)
    with dask.config.set(scheduler="sync"):
        assert len(di.read_tfrecords(tmp_path / "out").compute()) == 2
        assert len(di.read_tfrecords(tmp_path / "out", records_per_partition=1).compute()) == 2
    assert opened
    assert all(file.closed for file in opened)


def test_a_warning_of_lost_rows_shows_no_credentials(tmp_path):
    place = "https://bob:pw@host/a.tfrecord?X-Amz-Signature=9f3e#3"
    rows = [failed(place, ValueError("broken")), Record(place, {}, None, {"a": "read: lost"})]
    with pytest.warns(UserWarning, match="https://") as told:
        to_frame(rows, {"a": STRING}, 0, "null", {"a": STRING})
    text = " ".join(str(warning.message) for warning in told)
    assert "pw" not in text
    assert "9f3e" not in text


@pytest.mark.parametrize("dtype", ["category", "str", "string", "string[pyarrow]", object])
@pytest.mark.parametrize("null", [None, np.nan])
def test_a_null_among_text_is_a_feature_that_is_not_there(tmp_path, dtype, null):
    text = pd.Series(["a", null, "b"], dtype=dtype)
    pd.DataFrame({"text": text, "row": [0.5, np.nan, 2]}).img.write_tfrecords(tmp_path / "out")
    made = di.read_tfrecords(tmp_path / "out").compute()
    assert made.text.isna().tolist() == [False, True, False]
    assert made.text.dropna().tolist() == ["a", "b"]
    assert made.row.isna().tolist() == [False, True, False]


def test_the_shapes_of_tensors_have_a_column_of_their_own(tmp_path):
    tensors = pd.Series([np.zeros((2, 3, 5), "int64")], dtype="tensor")
    frame = pd.DataFrame({"t": tensors, "t/shape": [7]})
    with pytest.raises(ValueError, match="'t/shape' is where the shapes of 't' are written"):
        frame.img.write_tfrecords(tmp_path / "out")
