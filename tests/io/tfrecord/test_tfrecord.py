"""TFRecords: as TensorFlow writes them, as it reads them, and damaged ones."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import dask
import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.io.tfrecord import example as tf
from daskimg.io.tfrecord.features import Spec

# Three records that TensorFlow 2.21 wrote: label [7], name ["café"], score [0.5, -2.0].
BY_TENSORFLOW = bytes.fromhex(
    "1200000000000000241f64250a100a0e0a056c6162656c12051a030a0107368c84b9"
    "1500000000000000d6ab6b2b0a130a110a046e616d6512090a070a05636166c3a928967764"
    "19000000000000008bf108280a170a150a0573636f7265120c120a0a080000003f000000c07ce43322"
)
SHARED = Path(os.environ.get("DASKIMG_SHARED", Path(__file__).parents[4] / "shared"))
RACCOON = SHARED / "data" / "tfrecord" / "raccoon.tfrecord"


def png(seed=0, size=(8, 9)) -> bytes:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return di.Image(pixels).to_bytes()


def example(**features) -> bytes:
    message = tf.example_class()()
    for name, values in features.items():
        kind = {bytes: "bytes_list", float: "float_list", int: "int64_list"}[type(values[0])]
        getattr(message.features.feature[name], kind).value.extend(values)
    return message.SerializeToString(deterministic=True)


def write(path, records, compression=None) -> str:
    data = b"".join(map(tf.frame_bytes, records))
    path.write_bytes(tf.compress(data, compression))
    return str(path)


@pytest.fixture
def shop(tmp_path) -> str:
    records = [
        example(
            image=[png(i)],
            label=[i],
            name=[f"é{i}".encode()],
            price=[i / 2],
            boxes=[float(n) for n in range(i)] or [0.0],
            raw=[bytes(range(i, i + 6))],
        )
        for i in range(5)
    ]
    (tmp_path / "shop").mkdir()
    return write(tmp_path / "shop" / "a.tfrecord", records)


# -- reading ------------------------------------------------------------------------------------
def test_what_tensorflow_writes(tmp_path):
    (tmp_path / "tf.tfrecord").write_bytes(BY_TENSORFLOW)
    frame = di.read_tfrecords(tmp_path / "tf.tfrecord")
    assert frame.dtypes.astype(str).to_dict() == {
        "label": "Int64",
        "name": "string",
        "score": "json",
    }
    made = frame.compute()
    assert made.label.tolist() == [7, pd.NA, pd.NA]
    assert made.name.tolist() == [pd.NA, "café", pd.NA]
    assert made.score.tolist() == [pd.NA, pd.NA, [0.5, -2.0]]


def test_columns_by_what_features_hold(shop):
    frame = di.read_tfrecords(shop)
    assert frame.dtypes.astype(str).to_dict() == {
        "boxes": "json",
        "image": "image[encoded]",
        "label": "Int64",
        "name": "string",
        "price": "float32",
        "raw": "large_binary[pyarrow]",
    }
    made = frame.compute()
    assert made.dtypes.equals(frame.dtypes)
    assert made.boxes.tolist() == [[0.0], [0.0], [0.0, 1.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0]]
    assert made.name.tolist() == ["é0", "é1", "é2", "é3", "é4"]
    assert made.image.img.path[3] == f"{shop}#3"
    assert frame.image.img.width.compute().tolist() == [9] * 5
    assert made.image[2].to_bytes() == png(2)


def test_features_are_declared(shop):
    features = {
        "raw": "image[uint8, 2x3]",
        "boxes": "tensor[float32]",
        "label": int,
        "name": "bytes",
        "price": "tensor[float32, 1]",
        "not there": "list[int64]",
    }
    frame = di.read_tfrecords(shop, features=features, image_columns=[])
    assert list(frame.columns) == list(features)
    made = frame.compute()
    assert made.dtypes.equals(frame.dtypes)
    assert made.raw[1].to_numpy().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert made.boxes[3].tolist() == [0.0, 1.0, 2.0]
    assert made.name[0] == "é0".encode()
    assert made["not there"].isna().all()
    assert list(di.read_tfrecords(shop, features=["price", "label"]).columns) == ["price", "label"]


def test_pictures_are_named_or_none(shop):
    assert di.read_tfrecords(shop, image_columns=[]).dtypes["image"] == "large_binary[pyarrow]"
    frame = di.read_tfrecords(shop, image_columns="raw", on_error="null")
    assert frame.dtypes["image"] == "large_binary[pyarrow]"
    assert frame.raw.dtype == "image[encoded]"
    assert frame.raw.img.check().compute().notna().all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"features": ["nope"]}, "no 'nope'.*'boxes'"),
        ({"features": {"label": "int7"}}, "got 'int7'"),
        ({"image_columns": ["nope"]}, "no feature 'nope'"),
        ({"image_columns": ["label"]}, "'label' holds int64"),
        ({"compression": "BZ2"}, "BZ2"),
        ({"records_per_partition": 0}, "records_per_partition"),
        ({"on_error": "ignore"}, "ignore"),
    ],
)
def test_bad_options(shop, options, text):
    with pytest.raises(ValueError, match=text):
        di.read_tfrecords(shop, **options)


@pytest.mark.parametrize("compression", [None, "GZIP", "ZLIB"])
@pytest.mark.parametrize("per", [None, 2])
@pytest.mark.parametrize("protocol", ["", "memory://"])
def test_compressed_cut_and_remote(tmp_path, compression, per, protocol):
    path = tmp_path / "x.bin"  # nothing in the name tells
    write(path, [example(x=[i]) for i in range(5)], compression)
    if protocol:
        fsspec.filesystem("memory").pipe(str(path), path.read_bytes())
    for given in ("infer", compression):
        frame = di.read_tfrecords(f"{protocol}{path}", records_per_partition=per, compression=given)
        assert frame.npartitions == (1 if per is None else 3)
        made = frame.compute()
        assert made.x.tolist() == [*range(5)]
        assert made.index.tolist() == [*range(5)]


def test_shards_are_found_and_numbered(tmp_path):
    for i in range(3):
        write(tmp_path / f"t.tfrecord-0000{i}-of-00003", [example(x=[i]), example(x=[i + 10])])
    (tmp_path / "README.md").write_text("no records")
    (tmp_path / "cat.jpg").write_bytes(png())
    frame = di.read_tfrecords(tmp_path)
    assert frame.known_divisions
    made = frame.compute()
    assert made.index.tolist() == [0, 1, 10**9, 10**9 + 1, 2 * 10**9, 2 * 10**9 + 1]
    assert frame.loc[10**9].compute().x.tolist() == [1]
    braces = di.read_tfrecords(f"{tmp_path}/t.tfrecord-{{00000..00001}}-of-00003")
    assert braces.x.compute().tolist() == [0, 10, 1, 11]
    assert di.read_tfrecords(tmp_path, records_per_partition=9).index.compute().tolist() == [
        *range(6)
    ]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "cat.jpg").write_bytes(png())
    with pytest.raises(FileNotFoundError, match=r"cat\.jpg"):
        di.read_tfrecords(tmp_path / "other")


def test_building_reads_the_first_records_only(tmp_path, shop):
    write(tmp_path / "shop" / "b.tfrecord", [example(label=[9])])
    Path(tmp_path / "shop" / "c.tfrecord").write_bytes(b"damaged, but nobody looked yet")
    assert di.read_tfrecords(tmp_path / "shop").npartitions == 3
    (tmp_path / "shop" / "0.tfrecord").write_bytes(b"")
    assert "image" in di.read_tfrecords(tmp_path / "shop").columns
    with pytest.raises(ValueError, match=r"no record.*features="):
        di.read_tfrecords(tmp_path / "shop" / "0.tfrecord")
    empty = di.read_tfrecords(tmp_path / "shop" / "0.tfrecord", features={"x": "int64"})
    assert len(empty) == 0


def test_an_unused_picture_is_never_parsed(shop, monkeypatch):
    frame = di.read_tfrecords(shop)
    seen = []
    real = Spec.value
    monkeypatch.setattr(
        Spec, "value", lambda self, f, name, place: seen.append(name) or real(self, f, name, place)
    )
    with dask.config.set(scheduler="sync"):
        assert frame[frame.label > 2].price.sum().compute() == 3.5
    assert {*seen} == {"label", "price"}


# -- damage -------------------------------------------------------------------------------------
def frame_starts(data: bytes) -> list[int]:
    return tf.positions(io.BytesIO(data))


def damage_data(data: bytes) -> bytes:
    """A byte of the third record's picture changed."""
    at = data.index(b"IDAT", frame_starts(data)[2]) + 8
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def damage_length(data: bytes) -> bytes:
    at = frame_starts(data)[2]
    return data[:at] + b"\xff" + data[at + 1 :]


def cut_off(data: bytes) -> bytes:
    return data[: frame_starts(data)[2] + 50]


def cut_in_length(data: bytes) -> bytes:
    return data[: frame_starts(data)[2] + 5]


def no_example(data: bytes) -> bytes:
    starts = [*frame_starts(data), len(data)]
    return data[: starts[2]] + tf.frame_bytes(b"\xff\xff\xff") + data[starts[3] :]


DAMAGES = {
    "data": (damage_data, 5, "checksum of record 2"),
    "length": (damage_length, 3, "length of record 2"),
    "cut": (cut_off, 3, "ends in record 2"),
    "cut length": (cut_in_length, 3, "ends in the length of record 2"),
    "message": (no_example, 5, "record 2 is no tf.train.Example"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("per", [None, 2])
def test_a_damaged_record_is_one_row(shop, damage, per):
    features = {"image": "image", "label": "int64"}
    break_it, rows, reason = DAMAGES[damage]
    path = Path(shop)
    path.write_bytes(break_it(path.read_bytes()))
    with pytest.raises(di.ImageError, match=rf"{reason}.*a\.tfrecord#2"):
        di.read_tfrecords(shop, features=features).compute()
    frame = di.read_tfrecords(shop, features=features, on_error="null", records_per_partition=per)
    made = frame.compute()
    assert len(made) == rows == len(frame[["label"]].compute()) == len(frame)
    assert made.label.tolist() == [0, 1, pd.NA, 3, 4][:rows]
    assert made.image.img.failed.tolist() == [False, False, True, False, False][:rows]
    assert reason in made.image.img.error[2]
    assert frame.image.img.width.compute().tolist() == [9, 9, pd.NA, 9, 9][:rows]


def test_a_gzip_file_that_ends_early(shop):
    path = Path(shop)
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(di.ImageError, match=r"a\.tfrecord#"):
        di.read_tfrecords(shop, features={"image": "image"}).compute()
    made = di.read_tfrecords(shop, features={"image": "image"}, on_error="null").compute()
    assert 1 <= len(made) <= 5
    assert made.image.img.failed.tolist() == [False] * (len(made) - 1) + [True]


def test_checksums_can_be_ignored(shop):
    path = Path(shop)
    path.write_bytes(damage_data(path.read_bytes()))
    features = {"label": "int64"}
    made = di.read_tfrecords(shop, features=features, verify_crc=False).compute()
    assert made.label.tolist() == [0, 1, 2, 3, 4]


def test_without_pictures_a_lost_row_is_warned_of(tmp_path):
    path = tmp_path / "x.tfrecord"
    write(path, [example(x=[i]) for i in range(3)])
    data = bytearray(path.read_bytes())
    data[frame_starts(data)[1] + 14] ^= 1
    path.write_bytes(data)
    frame = di.read_tfrecords(path, on_error="null")
    with pytest.warns(UserWarning, match=r"x\.tfrecord#1.*checksum"):
        assert frame.compute(scheduler="sync").x.tolist() == [0, pd.NA, 2]


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ({"boxes": "float32"}, "list\\[float32\\]"),
        ({"label": "string"}, "is a int64_list, not string"),
        ({"raw": "string", "image": "string"}, "not UTF-8"),
        ({"price": "tensor[float32, 4]"}, "has 1 values"),
    ],
)
def test_a_feature_of_another_kind(shop, features, text):
    with pytest.raises(di.ImageError, match=text):
        di.read_tfrecords(shop, features=features).compute()


def test_lists_survive_merge_and_parquet(tmp_path, shop):
    frame = di.read_tfrecords(shop)
    other = dd.from_pandas(
        pd.DataFrame({"label": pd.array(range(5), "Int64"), "z": range(5)}), npartitions=2
    )
    merged = frame.merge(other, on="label")
    assert sorted(map(len, merged.boxes.compute())) == [1, 1, 2, 3, 4]
    merged.img.write_parquet(tmp_path / "parquet")
    back = di.read_parquet(tmp_path / "parquet").compute()
    assert sorted(map(len, back.boxes)) == [1, 1, 2, 3, 4]
    assert len(frame[["label", "boxes"]].explode("boxes").compute()) == 11


# -- what the first records tell ----------------------------------------------------------------
TEXT = b"P1 is the name of a product"  # and how a picture of bits may begin
GUESSED = {
    "one of many is junk": ([png()] * 10 + [b"junk"], "image[encoded]"),
    "the first is empty": ([b"", png(), png()], "image[encoded]"),
    "only the last is one": ([b"", b"", b"\0\1", b"junk", png()], "image[encoded]"),
    "the first breaks off": ([png()[:5], png()], "image[encoded]"),
    "none in the first records": ([None, None, png()], "image[encoded]"),
    "all are empty": ([b"", b""], "string"),
    "all are broken": ([b"\xff", b"\xfe"], "large_binary[pyarrow]"),
    "a text among texts": ([TEXT, b"apple", b"pear"], "string"),
    "numbers in some": ([png(), 7, png()], "image[encoded]"),
}


@pytest.mark.parametrize("case", GUESSED)
def test_bytes_are_pictures(tmp_path, case):
    values, dtype = GUESSED[case]
    records = [
        example(**({} if v is None else {"image": [v]}), n=[i]) for i, v in enumerate(values)
    ]
    path = write(tmp_path / "x.tfrecord", records)
    frame = di.read_tfrecords(path, on_error="null")
    assert str(frame.dtypes["image"]) == dtype
    made = frame.compute(scheduler="sync")
    assert made.n.tolist() == [*range(len(values))]
    if dtype == "image[encoded]":
        good = [value is not None and value == png() for value in values]
        assert frame.image.img.check().isna().compute(scheduler="sync").tolist() == [
            right or value is None for right, value in zip(good, values, strict=True)
        ]
        kept = di.read_tfrecords(path, image_columns=[], on_error="null")
        assert "image" not in str(kept.dtypes["image"])
    named = di.read_tfrecords(path, features={"image": "image"}, on_error="null")
    assert str(named.dtypes["image"]) == "image[encoded]"


def test_integers_then_floats(tmp_path):
    write(tmp_path / "0.tfrecord", [example(a=[1]), example(a=[2])])
    write(tmp_path / "1.tfrecord", [example(a=[3.0]), example(a=[4.5])])
    write(tmp_path / "2.tfrecord", [example(a=[5.5]), example(a=[2**24 + 1])])
    frame = di.read_tfrecords(tmp_path)
    assert frame.a.dtype == "Int64"
    with pytest.raises(di.ImageError, match=r"'a'.*\.5 would change.*float64.*\.tfrecord#"):
        frame.compute(scheduler="sync")
    with pytest.warns(UserWarning, match=r"1\.tfrecord#1.*null in 'a'"):
        made = di.read_tfrecords(tmp_path, on_error="null").a.compute(scheduler="sync")
    assert made.tolist() == [1, 2, 3, pd.NA, pd.NA, 2**24 + 1]
    wide = di.read_tfrecords(tmp_path, features={"a": float, "b": "double"}).drop(columns="b")
    with pytest.raises(di.ImageError, match=r"16777217 would change"):
        wide.compute(scheduler="sync")
    exact = di.read_tfrecords(tmp_path, features={"a": "float64"})
    assert exact.a.compute(scheduler="sync").tolist() == [1, 2, 3, 4.5, 5.5, 2**24 + 1]
    mixed = di.read_tfrecords(tmp_path / "2.tfrecord")
    assert mixed.a.dtype == "float64"
    assert mixed.a.compute(scheduler="sync").tolist() == [5.5, 2**24 + 1]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("per", [None, 1])
def test_a_damaged_feature_costs_its_own_cell(tmp_path, per):
    records = [
        example(image=[png()], n=[1], text=[b"a"], boxes=[1.0, 2.0]),
        example(image=[png(1)], n=[b"text"], text=[b"\xff"], boxes=[1.0]),
        example(image=[3], n=[1, 2], text=[b"a", b"b"], boxes=[1, 2]),
        example(image=[png(2), png(3)], n=[4], text=[b"d"], boxes=[b"x"]),
    ]
    path = write(tmp_path / "x.tfrecord", records)
    kinds = {"image": "image", "n": "int64", "text": "string", "boxes": "tensor[float32, 2]"}
    options = {"features": kinds, "on_error": "null", "records_per_partition": per}
    frame = di.read_tfrecords(path, **options)
    made = frame.compute(scheduler="sync")
    wanted = {
        "image": [True, True, False, False],
        "n": [True, False, False, True],
        "text": [True, False, False, True],
        "boxes": [True, False, True, False],
    }
    for name, there in wanted.items():
        assert made[name].notna().tolist() == there
        assert frame[name].compute(scheduler="sync").notna().tolist() == there
    errors = frame.img.errors().compute(scheduler="sync")
    assert sorted(errors["column"]) == ["boxes", "boxes", "image", "image"]
    assert frame.img.write_parquet(tmp_path / "out").failed == 3
    for name, there in wanted.items():
        with pytest.raises(
            di.ImageError, match=rf"feature '{name}'.*x\.tfrecord#{there.index(False)}"
        ):
            di.read_tfrecords(path, features=kinds)[name].compute(scheduler="sync")


@pytest.mark.parametrize("per", [None, 1])
@pytest.mark.parametrize("verify", [True, False])
def test_a_damaged_length_is_one_story_however_it_is_cut(tmp_path, per, verify):
    for compression in (None, "GZIP", "ZLIB"):
        data = bytearray(b"".join(tf.frame_bytes(example(n=[i])) for i in range(4)))
        at = frame_starts(bytes(data))[2]
        data[at + 8] ^= 1  # the checksum of the length
        path = tmp_path / "x.tfrecord"
        path.write_bytes(tf.compress(bytes(data), compression))
        frame = di.read_tfrecords(
            path,
            features={"n": "int64", "image": "image"},
            verify_crc=verify,
            on_error="null",
            records_per_partition=per,
            compression=compression,
        )
        made = frame.compute(scheduler="sync")
        wanted = [0, 1, pd.NA] if verify else [0, 1, 2, 3]
        assert made.n.tolist() == wanted
        assert len(frame) == len(frame.n.compute(scheduler="sync")) == len(wanted)


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("per", [None, 1])
@pytest.mark.parametrize("length", [0, 3, 2**31, 2**40, 2**62, 2**63 - 5, 2**64 - 1])
def test_a_length_that_lies(tmp_path, per, length):
    data = b"".join(tf.frame_bytes(example(n=[i])) for i in range(4))
    at = frame_starts(data)[2]
    lie = data[:at] + length.to_bytes(8, "little") + data[at + 8 :]
    path = tmp_path / "x.tfrecord"
    path.write_bytes(lie)
    for verify in (True, False):
        frame = di.read_tfrecords(
            path,
            features={"n": "int64", "image": "image"},
            verify_crc=verify,
            on_error="null",
            records_per_partition=per,
        )
        made = frame.compute(scheduler="sync")
        assert made.n.tolist()[:2] == [0, 1]
        assert len(frame) == len(made) == len(frame.n.compute(scheduler="sync"))
        if verify or length > 2**30:
            assert made.image.img.failed.tolist() == [False, False, True]


# -- a real file --------------------------------------------------------------------------------
@pytest.mark.skipif(not RACCOON.exists(), reason="the raccoons are not here")
def test_raccoons_and_their_boxes():
    frame = di.read_tfrecords(RACCOON, records_per_partition=10)
    assert (frame.npartitions, len(frame)) == (4, 40)
    lists = [name for name in frame.columns if "/object/" in name]
    assert {str(frame.dtypes[name]) for name in lists} == {"json"}
    sides = {"w": frame["image/encoded"].img.width, "h": frame["image/encoded"].img.height}
    boxes = frame.assign(**sides).drop(columns="image/encoded").explode(lists)
    labels = dd.from_pandas(pd.read_csv(RACCOON.parent / "test_labels.csv"), npartitions=2)
    joined = boxes.merge(labels, left_on="image/filename", right_on="filename").compute()
    assert joined["image/filename"].nunique() == 40
    assert (joined.w == joined.width).all()
    assert (joined.h == joined.height).all()
    assert joined["image/object/class/text"].tolist() == joined["class"].tolist()
    inside = joined["image/object/bbox/xmin"].astype("float64") * joined.width
    same = (inside - joined.xmin).abs() < 0.01
    assert same.groupby(joined["image/filename"]).any().all()
    assert frame["image/encoded"].img.check().isna().all().compute()
