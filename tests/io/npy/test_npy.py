"""NumPy files: read by rows, refused where they are not rows, written as NumPy reads them."""

from __future__ import annotations

import zipfile

import dask
import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.io.npy import read as npy
from daskimg.io.npy import write as npy_write
from daskimg.testing import make_images


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 256, (10, 5, 6, 3), dtype=np.uint8)


def pixels_of(frame, column="image"):
    return frame[column].compute().img.to_numpy()


# -- dtypes -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((9, 5, 6), "uint8", "image[uint8, 5x6]"),
        ((9, 5, 6, 1), "uint16", "image[uint16, 5x6x1]"),
        ((9, 5, 6, 3), "float32", "image[float32, 5x6x3]"),
        ((9, 5, 6, 4), ">u2", "image[uint16, 5x6x4]"),
        ((9, 3, 5, 6), "float32", "tensor[float32, 3x5x6]"),
        ((9, 512), "float64", "tensor[float64, 512]"),
        ((9,), "int16", "int16"),
        ((9,), "bool", "bool"),
        ((9,), ">f8", "float64"),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_row_comes_back_as_declared(tmp_path, rng, shape, dtype, expected, order):
    values = np.asarray(rng.integers(0, 2, shape).astype(dtype), order=order)
    np.save(tmp_path / "a.npy", values)
    frame = di.read_numpy(tmp_path / "a.npy", column="x", rows_per_partition=4)
    assert frame.x.dtype == expected
    assert frame.divisions == (0, 4, 8, 8)
    made = frame.compute()
    assert made.x.dtype == expected
    assert made.index.equals(pd.RangeIndex(9))
    cells = [cell.to_numpy() if hasattr(cell, "to_numpy") else cell for cell in made.x]
    assert np.array_equal(np.stack(cells), values)


def test_text_and_dates_are_plain_columns(tmp_path):
    np.save(tmp_path / "u.npy", np.array(["é", "bc", ""]))
    np.save(tmp_path / "s.npy", np.array(["a", "b"]).astype("S3"))
    np.save(tmp_path / "d.npy", np.array(["2024-01-05"], "datetime64[D]"))
    text = di.read_numpy(tmp_path / "u.npy", column="t").t.compute()
    assert (text.dtype, text.tolist()) == ("string", ["é", "bc", ""])
    assert di.read_numpy(tmp_path / "s.npy", column="t").t.compute().tolist() == ["a", "b"]
    day = di.read_numpy(tmp_path / "d.npy", column="t")
    assert day.t.compute().tolist() == [pd.Timestamp("2024-01-05")]
    assert day.compute().dtypes.equals(day.dtypes)


def test_structured_fields_in_the_order_asked(tmp_path, rng):
    kind = [("naïve", "U4"), ("image", "u1", (4, 4)), ("score", "f8")]
    rows = np.zeros(6, dtype=kind)
    rows["score"] = np.arange(6)
    rows["image"] = rng.integers(0, 256, (6, 4, 4))
    np.save(tmp_path / "s.npy", rows)
    frame = di.read_numpy(tmp_path / "s.npy", rows_per_partition=4)
    assert list(frame.columns) == ["naïve", "image", "score"]
    frame = di.read_numpy(tmp_path / "s.npy", column_names=["score", "image"])
    assert frame.dtypes.astype(str).to_dict() == {"score": "float64", "image": "image[uint8, 4x4]"}
    assert np.array_equal(pixels_of(frame), rows["image"])


def test_names_beyond_latin1(tmp_path):
    rows = np.zeros(2, dtype=[("文字", "i4")])
    with pytest.warns(UserWarning, match="format 3.0"):
        np.save(tmp_path / "s.npy", rows)
    assert list(di.read_numpy(tmp_path / "s.npy").columns) == ["文字"]


def test_a_table_takes_names(tmp_path, rng):
    table = rng.random((7, 3))
    np.save(tmp_path / "t.npy", table)
    frame = di.read_numpy(tmp_path / "t.npy", column_names=["a", "b", "c"], rows_per_partition=3)
    assert np.array_equal(frame.compute().to_numpy(), table)
    with pytest.raises(ValueError, match="2 names"):
        di.read_numpy(tmp_path / "t.npy", column_names=["a", "b"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("protocol", ["", "memory://"])
def test_keys_of_npz(tmp_path, pixels, save, protocol):
    path = tmp_path / "b.npz"
    save(path, image=np.asfortranarray(pixels), label=np.arange(10), junk=np.array({}, object))
    url = str(path)
    if protocol:
        url = f"memory://{path}"
        fsspec.filesystem("memory").pipe(str(path), path.read_bytes())
    frame = di.read_numpy(url, column_names=["label", "image"], rows_per_partition=3)
    assert list(frame.columns) == ["label", "image"]
    assert frame.npartitions == 4
    assert frame.label.compute().tolist() == [*range(10)]
    assert np.array_equal(pixels_of(frame), pixels)


# -- laziness -----------------------------------------------------------------------------------
def test_only_the_asked_rows_and_columns_are_read(tmp_path, pixels, monkeypatch):
    np.save(tmp_path / "a.npy", pixels)
    asked = []
    real = npy.sh.read_range

    def counting(shard, source, start, end):
        asked.append(end - start)
        return real(shard, source, start, end)

    monkeypatch.setattr(npy.sh, "read_range", counting)
    frame = di.read_numpy(tmp_path / "a.npy", rows_per_partition=2)
    assert asked == []
    with dask.config.set(scheduler="sync"):
        frame.partitions[3].compute()
    assert asked == [2 * 5 * 6 * 3]


def test_counting_rows_reads_none(tmp_path, pixels, monkeypatch):
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "b.npz", pixels)
    monkeypatch.setattr(npy.Reader, "_arrays", None)
    for name in ("a.npy", "b.npz"):
        frame = di.read_numpy(tmp_path / name, column="x", rows_per_partition=4)
        column = frame.columns[0]
        assert len(frame) == len(frame[column].img.mean()) == len(frame.assign(n=1)) == 10
    assert len(di.from_array(pixels)) == 10


def test_a_key_that_nobody_uses_is_not_read(tmp_path, pixels, monkeypatch):
    np.savez(tmp_path / "b.npz", image=pixels, label=np.arange(10))
    frame = di.read_numpy(tmp_path / "b.npz")
    read, real = [], npy.nf.read_member
    monkeypatch.setattr(npy.nf, "read_member", lambda *a: read.append(a[1]) or real(*a))
    with dask.config.set(scheduler="sync"):
        assert frame[frame.label > 7].label.sum().compute() == 17
    assert read == ["label"]


def test_a_partition_is_small_and_small_files_share_one(tmp_path, pixels):
    for i in range(5):
        np.save(tmp_path / f"{i}.npy", pixels + i)
    frame = di.read_numpy(tmp_path)
    assert (frame.npartitions, len(frame)) == (1, 50)
    assert np.array_equal(pixels_of(frame)[40:], pixels + 4)
    assert di.read_numpy(tmp_path, rows_per_partition=25).divisions == (0, 20, 40, 49)


def test_remote_rows_are_ranges(pixels, tmp_path):
    np.save(tmp_path / "a.npy", pixels)
    np.save(tmp_path / "f.npy", np.asfortranarray(pixels))
    memory = fsspec.filesystem("memory")
    for name in "af":
        memory.pipe(f"/np/{name}.npy", (tmp_path / f"{name}.npy").read_bytes())
        frame = di.read_numpy(f"memory://np/{name}.npy", rows_per_partition=3)
        assert np.array_equal(pixels_of(frame), pixels)


# -- refused ------------------------------------------------------------------------------------
def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}, None], object), allow_pickle=True)
    for policy in ("raise", "null"):
        with pytest.raises(ValueError, match=r"o\.npy.*pickled"):
            di.read_numpy(tmp_path / "o.npy", on_error=policy)


@pytest.mark.parametrize(
    "other", [np.zeros((3, 4, 6, 3), "uint8"), np.zeros((3, 5, 6, 3), "float32")]
)
def test_files_that_differ_are_both_named(tmp_path, pixels, other):
    np.save(tmp_path / "one.npy", pixels)
    np.save(tmp_path / "two.npy", other)
    with pytest.raises(ValueError, match=r"one\.npy.*\(5, 6, 3\), uint8.*two\.npy"):
        di.read_numpy(tmp_path)


def test_other_bad_files(tmp_path, pixels):
    np.save(tmp_path / "one.npy", np.array(3))
    with pytest.raises(ValueError, match=r"one\.npy.*without rows"):
        di.read_numpy(tmp_path / "one.npy")
    np.savez(tmp_path / "n.npz", a=np.zeros(3), b=np.zeros(4))
    with pytest.raises(ValueError, match="a has 3, b has 4"):
        di.read_numpy(tmp_path / "n.npz")
    with pytest.raises(ValueError, match=r"no key 'c'.*\['a', 'b'\]"):
        di.read_numpy(tmp_path / "n.npz", column_names=["c"])
    np.save(tmp_path / "c.npy", np.zeros((3, 4), complex))
    with pytest.raises(ValueError, match=r"c\.npy.*complex128"):
        di.read_numpy(tmp_path / "c.npy")
    with pytest.raises(FileNotFoundError, match="nothing"):
        di.read_numpy(tmp_path / "nothing")
    with pytest.raises(ValueError, match="rows_per_partition"):
        di.read_numpy(tmp_path / "c.npy", rows_per_partition=0)


@pytest.fixture
def damaged(tmp_path, pixels):
    folder = tmp_path / "damaged"
    folder.mkdir()
    np.save(folder / "0.npy", pixels)
    np.save(folder / "1.npy", pixels)
    whole = (folder / "1.npy").read_bytes()
    (folder / "1.npy").write_bytes(whole[: -(2 * 90 + 30)])  # two rows and a third
    (folder / "2.npy").write_bytes(b"no array")
    return folder


def test_a_damaged_file_is_named(damaged):
    with pytest.raises(di.ImageError, match=r"ends after .* bytes .*1\.npy"):
        di.read_numpy(damaged)


def test_under_null_what_is_there_is_kept(damaged, pixels):
    frame = di.read_numpy(damaged, on_error="null", rows_per_partition=4)
    made = frame.compute()
    lost = [17, 18, 19, 20]
    assert made.index[made.image.isna()].tolist() == lost
    assert made.image.img.failed.sum() == 4
    assert np.array_equal(made.image[10:17].img.to_numpy(), pixels[:7])
    errors = frame.img.errors().compute()
    assert [path.rpartition("/")[2] for path in errors.path] == ["1.npy"] * 3 + ["2.npy"]
    assert set(errors.stage) == {"read"}


def test_numbers_have_no_null(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-8])
    with pytest.raises(di.ImageError, match=r"a\.npy"):
        di.read_numpy(tmp_path / "a.npy", column="x", on_error="null")


def test_a_damaged_array_of_an_npz_costs_no_other(tmp_path, pixels):
    for n in range(2):
        vectors = np.arange(len(pixels) * 2000.0).reshape(len(pixels), 2000)
        words = np.array(["word" * 1000] * len(pixels))
        np.savez(tmp_path / f"{n}.npz", image=pixels, vector=vectors, word=words)
    data = bytearray((tmp_path / "1.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "1.npz") as members:
        for name in ("vector.npy", "word.npy"):
            member = members.getinfo(name)
            data[member.header_offset + member.file_size] ^= 255
    (tmp_path / "1.npz").write_bytes(data)
    n = len(pixels)
    frame = di.read_numpy(tmp_path, on_error="null")
    good = frame[["image", "vector"]]
    assert frame.image.compute().notna().all()
    assert good.compute().isna().sum().tolist() == [0, n]
    assert good.vector.isna().sum().compute() == n
    assert set(good.compute().vector.array.error.to_pylist()[n:]) == {
        "read: ValueError: the .npz file is damaged: Bad CRC-32 for file 'vector.npy'"
    }
    for asked in (frame, frame.word, di.read_numpy(tmp_path).vector):
        with pytest.raises(di.ImageError, match=r"1\.npz"):
            asked.compute()
    assert di.read_numpy(tmp_path).image.compute().notna().all()


def test_damaged_zip(tmp_path, pixels):
    np.savez_compressed(tmp_path / "z.npz", image=pixels)
    data = bytearray((tmp_path / "z.npz").read_bytes())
    data[200:240] = bytes(40)
    (tmp_path / "z.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"z\.npz"):
        di.read_numpy(tmp_path / "z.npz").compute()


# -- written ------------------------------------------------------------------------------------
@pytest.fixture
def pictures(tmp_path):
    make_images(tmp_path / "pictures", 6, size=(8, 10), broken=1)
    return di.read_images(
        tmp_path / "pictures", files_per_partition=4, size=(4, 6), mode="RGB", on_error="null"
    )


def test_round_trip_with_an_index(tmp_path, pictures):
    frame = pictures.assign(mean=pictures.image.img.mean())
    metrics.reset()
    result = frame.img.write_numpy(tmp_path / "out", errors=tmp_path / "errors")
    assert (result.rows, result.failed, result.written) == (7, 1, 6)
    assert metrics.snapshot()["decode"] == 7  # one pass
    names = [file.rpartition("/out/")[2] for file in result.files]
    assert names == [
        "part-00000.npy",
        "index.parquet/part-00000.parquet",
        "part-00001.npy",
        "index.parquet/part-00001.parquet",
    ]
    arrays = [np.load(file) for file in result.files if file.endswith(".npy")]
    kept = frame.compute().dropna(subset="image")
    assert np.array_equal(np.concatenate(arrays), kept.image.img.to_numpy())
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    pd.testing.assert_frame_equal(index, kept.drop(columns="image"), check_dtype=False)
    back = di.read_numpy(tmp_path / "out")
    assert np.array_equal(pixels_of(back), np.concatenate(arrays))
    assert len(di.read_parquet(tmp_path / "errors")) == 1


def test_one_file(tmp_path, pictures):
    good = pictures[["image"]][pictures.image.img.error.isna()]
    result = good.img.write_numpy(tmp_path / "all.npy")
    assert result.files == [str(tmp_path / "all.npy")]
    assert np.array_equal(np.load(tmp_path / "all.npy"), pixels_of(good))
    with pytest.raises(FileExistsError, match=r"all\.npy"):
        good.img.write_numpy(tmp_path / "all.npy")
    with pytest.raises(ValueError, match=r"no place for the columns \['path'\]"):
        pictures.img.write_numpy(tmp_path / "other.npy")


def test_a_tensor_column(tmp_path, rng):
    values = rng.random((6, 5)).astype("float32")
    frame = di.from_array(da.from_array(values, chunks=(4, 5)), column="embedding")
    result = frame.img.write_numpy(tmp_path / "out", "embedding")
    assert [np.load(file).shape for file in result.files] == [(4, 5), (2, 5)]
    assert di.read_numpy(tmp_path / "out", column="e").e.dtype == "tensor[float32, 5]"


def test_ragged_pictures_are_told_to_resize(tmp_path, pictures):
    files = di.images(pictures.path).to_frame("image")
    for column in (files, files.assign(image=files.image.img.decode("RGB"))):
        with pytest.raises(ValueError, match="resize"):
            column.img.write_numpy(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_rows_still_make_an_array(tmp_path, pictures):
    none = pictures[pictures.path == "no such"]
    result = none.img.write_numpy(tmp_path / "out")
    assert np.load(result.files[0]).shape == (0, 4, 6, 3)
    assert len(di.read_numpy(tmp_path / "out")) == 0


def test_resume_writes_the_rest_to_equal_bytes(tmp_path, pictures):
    whole = pictures.img.write_numpy(tmp_path / "whole")
    out = tmp_path / "out"

    put, written = npy_write.Part.files, []

    def half(self, frame, run, number):
        if written:
            raise OSError("disk full")
        written.append(len(frame))
        return put(self, frame, run, number)

    with pytest.MonkeyPatch.context() as patch, dask.config.set(scheduler="sync"):
        patch.setattr(npy_write.Part, "files", half)
        with pytest.raises(OSError, match="disk full"):
            pictures.img.write_numpy(out)
    assert not (out / "part-00000.npy").exists()
    with pytest.raises((ValueError, FileNotFoundError)):
        di.read_numpy(out)
    metrics.reset()
    with dask.config.set(scheduler="sync"):
        result = pictures.img.write_numpy(out, mode="resume")
    assert metrics.snapshot()["decode"] in (3, 4)  # of 7: one partition was done
    for one, other in zip(whole.files, result.files, strict=True):
        with open(one, "rb") as a, open(other, "rb") as b:
            assert a.read() == b.read()


# -- damage, and two of a kind ------------------------------------------------------------------
PAIR = np.dtype([("left", "u1", (4, 4)), ("right", "u1", (4, 4))])


def test_a_field_of_rows_of_which_nothing_is_left(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(10, PAIR))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[: -7 * PAIR.itemsize])
    (tmp_path / "b.npy").write_bytes(b"no array at all")
    df = di.read_numpy(tmp_path, rows_per_partition=2, on_error="null").compute()
    for column in ("left", "right"):
        assert df[column].img.failed.tolist() == [False] * 3 + [True] * 8
    assert "ends after" in df.left.img.error.iloc[9]


@pytest.mark.parametrize("names", [["a", "a"], ("b", "a", "b")])
def test_a_name_that_is_given_twice_loses_no_column(tmp_path, names):
    np.save(tmp_path / "a.npy", np.arange(2.0 * len(names)).reshape(2, -1))
    with pytest.raises(ValueError, match="occurs twice"):
        di.read_numpy(tmp_path / "a.npy", column_names=names)


def test_pictures_beside_the_array_are_counted_as_errors_are(tmp_path):
    make_images(tmp_path / "pics", 3)
    (tmp_path / "pics" / "junk.png").write_bytes(b"junk")
    files = di.read_images(tmp_path / "pics", on_error="null").compute()
    good = files.image.iloc[[0] * len(files)].reset_index(drop=True)
    both = dask.dataframe.from_pandas(files.assign(good=good), npartitions=2)
    both = both.assign(
        image=both.image.img.decode("RGB").img.resize(4, 4),
        good=both.good.img.decode("RGB").img.resize(4, 4),
    )
    result = both.img.write_numpy(tmp_path / "out", "good", errors=tmp_path / "errors")
    assert (result.rows, result.failed) == (4, 1)
    assert len(di.read_parquet(tmp_path / "errors")) == 1
    assert len(di.read_numpy(tmp_path / "out")) == 4


@pytest.mark.parametrize("asked", ["dat", "*", ["*.DAT", ".npz"]])
def test_file_extensions_as_everywhere(tmp_path, asked):
    with open(tmp_path / "a.dat", "wb") as file:
        np.save(file, np.zeros((2, 3, 3), "uint8"))
    assert len(di.read_numpy(tmp_path, file_extensions=asked)) == 2
    with pytest.raises(ValueError, match="expected extensions"):
        di.read_numpy(tmp_path, file_extensions=[])
