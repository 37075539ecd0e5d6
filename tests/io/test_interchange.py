"""What we write, other programs read; what they write, we read."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import daskimg as di
from daskimg.testing import make_images
from tests.versions import ARROW

HUGGING_FACE = pytest.mark.skipif(ARROW < 24, reason="Hugging Face's datasets need pyarrow 24")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Pictures as encoded bytes in Parquet, and the files they came from."""
    folder = tmp_path_factory.mktemp("shop")
    paths = make_images(folder / "pictures", 5, size=(12, 18))
    df = di.read_images(folder / "pictures").assign(price=1.5)
    df.img.write_parquet(folder / "shop")
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return folder / "shop", pixels


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_duckdb_reads_ours(written):
    import duckdb

    target, pixels = written
    query = f"select image.bytes as data, price from '{target}/*.parquet' order by image.path"
    rows = duckdb.sql(query).fetchall()
    assert [price for _, price in rows] == [1.5] * 5
    for (data, _), wanted in zip(rows, pixels, strict=True):
        np.testing.assert_array_equal(decoded(data), wanted)


def test_duckdb_reads_our_pixels(tmp_path):
    import duckdb

    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    vectors = np.random.default_rng(0).random((3, 8)).astype("float32")
    df = di.from_array(pixels).assign(vector=di.from_array(vectors, column="v").v)
    df.img.write_parquet(tmp_path / "out")
    rows = duckdb.sql(f"select image, vector from '{tmp_path}/out/*.parquet'").fetchall()
    np.testing.assert_array_equal(np.array([row[0] for row in rows]).reshape(pixels.shape), pixels)
    np.testing.assert_array_equal(np.array([row[1] for row in rows], "float32"), vectors)


@HUGGING_FACE
def test_hugging_face_reads_ours_as_images(written, tmp_path):
    import datasets

    target, pixels = written
    files = sorted(str(path) for path in target.glob("*.parquet"))
    data = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path))
    assert isinstance(data.features["image"], datasets.Image)
    for row, wanted in zip(data, pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(row["image"].convert("RGB")), wanted)


@HUGGING_FACE
def test_we_read_hugging_faces(written, tmp_path):
    import datasets

    _, pixels = written
    rows = {"image": [Image.fromarray(p) for p in pixels], "n": list(range(5))}
    data = datasets.Dataset.from_dict(
        rows, features=datasets.Features({"image": datasets.Image(), "n": datasets.Value("int64")})
    )
    data.to_parquet(str(tmp_path / "theirs.parquet"))
    df = di.read_parquet(tmp_path / "theirs.parquet")
    assert str(df.dtypes["image"]) == "image[encoded]"
    got = df.image.img.decode("RGB").compute()
    for cell, wanted in zip(got, pixels, strict=True):
        np.testing.assert_array_equal(cell.to_numpy(), wanted)


# In a process of its own: TensorFlow brings thread pools that do not mix with ours.
def run(code: str, *args: str) -> str:
    out = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr[-2000:]
    return out.stdout.strip().splitlines()[-1]


@pytest.mark.long
def test_tensorflow_reads_our_records(written, tmp_path):
    target, pixels = written
    di.read_parquet(target).img.write_tfrecords(tmp_path / "records")
    code = """
import sys, json, glob, tensorflow as tf
one = tf.io.FixedLenFeature
spec = {"image": one([], tf.string), "price": one([], tf.float32)}
out = []
for record in tf.data.TFRecordDataset(sorted(glob.glob(sys.argv[1] + "/*.tfrecord*"))):
    row = tf.io.parse_single_example(record, spec)
    out.append([float(row["price"]), *map(int, tf.io.decode_image(row["image"]).shape)])
print(json.dumps(out))
"""
    got = json.loads(run(code, str(tmp_path / "records")))
    assert got == [[1.5, *p.shape] for p in pixels]


@pytest.mark.long
def test_we_read_tensorflows_records(written, tmp_path):
    _, pixels = written
    code = """
import sys, numpy as np, tensorflow as tf
pixels = np.load(sys.argv[1])
def feature(**kw): return tf.train.Feature(**kw)
with tf.io.TFRecordWriter(sys.argv[2], options="GZIP") as out:
    for n, picture in enumerate(pixels):
        png = tf.io.encode_png(picture).numpy()
        fields = {
            "image": feature(bytes_list=tf.train.BytesList(value=[png])),
            "n": feature(int64_list=tf.train.Int64List(value=[n])),
            "box": feature(float_list=tf.train.FloatList(value=[0.5, 1, 2, 3])),
        }
        example = tf.train.Example(features=tf.train.Features(feature=fields))
        out.write(example.SerializeToString())
print("done")
"""
    np.save(tmp_path / "pixels.npy", np.stack(pixels))
    run(code, str(tmp_path / "pixels.npy"), str(tmp_path / "theirs.tfrecord.gz"))
    got = di.read_tfrecords(tmp_path / "theirs.tfrecord.gz").compute()
    assert got["n"].tolist() == list(range(5))
    assert [list(box) for box in got["box"]] == [[0.5, 1, 2, 3]] * 5
    for cell, wanted in zip(got["image"].img.decode("RGB"), pixels, strict=True):
        np.testing.assert_array_equal(cell.to_numpy(), wanted)


def test_tensors_as_pyarrow_writes_them(tmp_path):
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
    table = pa.table(
        {
            "image": pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
            "vector": pa.FixedShapeTensorArray.from_numpy_ndarray(vectors),
        }
    )
    pq.write_table(table, tmp_path / "tensors.parquet")
    got = di.read_parquet(tmp_path / "tensors.parquet").compute()
    assert [str(dtype) for dtype in got.dtypes] == ["image[uint8, 4x5x3]", "tensor[float32, 3]"]
    np.testing.assert_array_equal(got["image"].img.to_numpy(), pixels)
    np.testing.assert_array_equal(np.stack(list(got["vector"])), vectors)


def test_ours_read_by_plain_pandas_without_daskimg(written):
    target, pixels = written
    code = """
import sys, json, io, pandas as pd, numpy as np
from PIL import Image
df = pd.read_parquet(sys.argv[1]).sort_values("path")
assert "daskimg" not in sys.modules
print(json.dumps([int(np.asarray(Image.open(io.BytesIO(c["bytes"])).convert("RGB")).astype(int).sum())
                  for c in df["image"]]))
"""
    assert json.loads(run(code, str(target))) == [int(p.astype(int).sum()) for p in pixels]


def test_bytes_columns_that_are_named(tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (3, 2)).save(out, "png")
    pd.DataFrame({"photo": [out.getvalue()], "other": [b"x"]}).to_parquet(tmp_path / "b.parquet")
    df = di.read_parquet(tmp_path / "b.parquet", image_columns=["photo"])
    assert str(df.dtypes["photo"]) == "image[encoded]"
    assert df.photo.img.width.compute().tolist() == [3]
    assert not isinstance(df.dtypes["other"], di.ImageDtype)
    with pytest.raises(ValueError, match="nope"):
        di.read_parquet(tmp_path / "b.parquet", image_columns=["nope"])
