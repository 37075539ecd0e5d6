"""Pictures written as files: copied or encoded, and named."""

from __future__ import annotations

import io
import os
from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import PIL.Image
import pytest

import daskimg as di
from daskimg.engine import opening
from daskimg.io.commit.names import FileNameError
from daskimg.testing import make_images


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    """JPEGs and PNGs in two folders, and broken files in a third."""
    folder = tmp_path_factory.mktemp("shop")
    make_images(folder / "cats", 3, size=(8, 10), formats=["jpeg"])
    make_images(folder / "dogs" / "big", 3, size=(8, 10), formats=["png"])
    make_images(folder / "odd", 1, size=(8, 10), broken=4)
    return folder


@pytest.fixture
def frame(shop):
    return di.read_images(str(shop), on_error="null", files_per_partition=4)


def names(result) -> list[str]:
    root = result.manifest.removesuffix("_daskimg/manifest.json")
    return [file.removeprefix(root) for file in result.files]


def formats(result) -> list[str]:
    found = []
    for file in result.files:
        with PIL.Image.open(file) as picture:
            found.append(picture.format)
    return found


# -- copied or encoded --------------------------------------------------------------------------
def test_untouched_files_are_copied_as_they_are(frame, shop, tmp_path):
    di.metrics.reset()
    result = frame.img.write_images(tmp_path / "out")
    assert "decode" not in di.metrics.snapshot() or di.metrics.snapshot()["decode"] == 0
    assert (result.rows, result.failed, result.missing) == (11, 2, 0)  # no picture by its content
    assert result.reasons == {"not an image": 2}
    for name in names(result):
        assert (tmp_path / "out" / name).read_bytes() == (shop / name).read_bytes()


def test_exif_and_profile_survive_a_copy(tmp_path):
    picture = PIL.Image.fromarray(np.full((6, 8, 3), 90, "uint8"))
    exif = PIL.Image.Exif()
    exif[274] = 6  # turned
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in" / "a.jpg", exif=exif, icc_profile=b"profile of a printer")
    frame = di.read_images(tmp_path / "in")
    copied = frame.img.write_images(tmp_path / "copy", file_format="jpeg")
    with PIL.Image.open(copied.files[0]) as back:
        assert back.getexif()[274] == 6
        assert back.info["icc_profile"] == b"profile of a printer"
        assert back.size == (8, 6)
    encoded = frame.img.write_images(tmp_path / "png", file_format="png")
    with PIL.Image.open(encoded.files[0]) as back:
        assert back.size == (6, 8)  # upright in its pixels


def test_encoded_cells_are_copied_too(shop, tmp_path):
    frame = di.read_images(str(shop / "cats"))
    frame.img.write_parquet(tmp_path / "parquet")
    again = di.read_parquet(tmp_path / "parquet")
    result = again.img.write_images(tmp_path / "out")
    assert names(result) == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert Path(result.files[1]).read_bytes() == (shop / "cats" / "00001.jpg").read_bytes()


@pytest.mark.parametrize("file_format", ["jpeg", "PNG", "webp", "tiff", "bmp", "jpg"])
def test_a_format_is_asked_for(frame, tmp_path, file_format):
    good = frame[~frame.path.str.contains("broken")]
    result = good.img.write_images(tmp_path / "out", file_format=file_format)
    wanted = {"JPG": "JPEG"}.get(file_format.upper(), file_format.upper())
    assert formats(result) == [wanted] * 7
    suffix = {"JPEG": ".jpg"}.get(wanted, f".{wanted.lower()}")
    assert {Path(name).suffix for name in names(result)} == {suffix}


@pytest.mark.parametrize("naming", [{"file_format": "png"}, {"filename": "{index}.webp"}])
def test_pixels_that_are_there_are_not_decoded_again(frame, tmp_path, monkeypatch, naming):
    alone = frame.img.write_images(tmp_path / "alone", **naming)
    again = []
    real = opening.decode
    monkeypatch.setattr(opening, "decode", lambda *args: again.append(1) or real(*args))
    light = frame.assign(light=frame.image.img.brightness()).groupby("path").light.mean()
    beside = frame.img.write_images(tmp_path / "beside", compute=False, **naming)
    found, result = dask.compute(light, beside)
    assert len(again) == result.failed  # those fail once more, each for its own column
    assert found.notna().sum() == 7
    assert (result.written, result.failed) == (alone.written, alone.failed)
    for one, other in zip(alone.files, result.files, strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_quality(frame, shop, tmp_path):
    cats = frame[frame.path.str.contains("cats")]
    low = cats.img.write_images(tmp_path / "low", quality=5)
    high = cats.img.write_images(tmp_path / "high", quality=95)
    same = cats.img.write_images(tmp_path / "same")
    sizes = [sum(Path(file).stat().st_size for file in r.files) for r in (low, high, same)]
    assert sizes[0] < sizes[1]
    assert Path(same.files[0]).read_bytes() == (shop / "cats" / "00000.jpg").read_bytes()
    dogs = frame[frame.path.str.contains("dogs")]
    copied = dogs.img.write_images(tmp_path / "dogs", quality=5, file_format="png")
    assert Path(copied.files[0]).read_bytes() == (shop / "dogs/big/00000.png").read_bytes()


def test_pixels_become_png(frame, tmp_path):
    small = frame.assign(image=frame.image.img.decode("RGB").img.resize(4, 5))
    result = small.img.write_images(tmp_path / "out")
    assert (result.rows, result.failed) == (11, 4)
    assert set(formats(result)) == {"PNG"}
    pixels = small[~small.path.str.contains("broken")].image.compute().img.to_numpy()
    found = [np.asarray(PIL.Image.open(file)) for file in result.files]
    assert np.array_equal(np.stack(found), pixels)


def test_what_a_format_cannot_hold_is_a_failure(tmp_path):
    pixels = pd.Series([np.zeros((4, 5), "float32"), np.zeros((4, 5, 3), "uint8")], dtype="image")
    frame = pd.DataFrame({"image": pixels.img.on_error("null")})
    result = frame.img.write_images(tmp_path / "out", file_format="jpeg")
    assert (result.rows, result.failed, result.missing) == (2, 1, 0)
    assert result.reasons == {"export failed": 1}
    with pytest.raises(di.ImageError, match="export: ValueError"):
        frame.assign(image=pixels).img.write_images(tmp_path / "no", file_format="jpeg")


# -- counting -----------------------------------------------------------------------------------
def test_no_row_is_lost(frame, tmp_path):
    wanted = frame.compute()
    wanted = wanted.assign(image=wanted.image.img.decode())
    wanted.loc[0, "image"] = None
    result = dd.from_pandas(wanted, npartitions=3).img.write_images(
        tmp_path / "out", errors=tmp_path / "errors"
    )
    assert (result.rows, result.failed, result.missing, result.written) == (11, 4, 1, 6)
    assert len(result.files) == 6
    failed = di.read_parquet(tmp_path / "errors").compute()
    assert failed.path.tolist() == wanted.path[wanted.image.img.failed].tolist()
    assert failed.image.dtype == "image[file]"
    assert (failed["error"].str.startswith("decode: ")).all()


# -- names --------------------------------------------------------------------------------------
def test_own_names_keep_the_folders(frame, tmp_path):
    good = frame[~frame.path.str.contains("broken")]
    wanted = [f"cats/0000{k}.jpg" for k in range(3)]
    wanted += [f"dogs/big/0000{k}.png" for k in range(3)]
    assert names(good.img.write_images(tmp_path / "out")) == [*wanted, "odd/00000.jpg"]


def test_the_names_do_not_depend_on_a_filter_that_decodes(frame, tmp_path):
    dogs = frame[frame.path.str.contains("dogs")]
    small = dogs.assign(image=dogs.image.img.resize(4, 4))
    kept = small[dogs.image.img.mean() > 0]
    di.metrics.reset()
    result = kept.img.write_images(tmp_path / "out")
    assert names(result) == [f"dogs/big/0000{k}.png" for k in range(3)]
    assert di.metrics.snapshot()["decode"] == 3


def test_a_wrong_extension_is_put_right(tmp_path):
    pixels = PIL.Image.fromarray(np.full((6, 8, 3), 90, "uint8"))
    (tmp_path / "in").mkdir()
    pixels.save(tmp_path / "in" / "a.JPG", format="png")
    pixels.save(tmp_path / "in" / "b.JPEG")
    result = di.read_images(tmp_path / "in").img.write_images(tmp_path / "out")
    assert names(result) == ["a.png", "b.JPEG"]


def test_pictures_without_a_path(tmp_path):
    pixels = pd.Series([np.zeros((4, 5), "uint8")] * 3, dtype="image")
    frame = dd.from_pandas(pd.DataFrame({"image": pixels}), npartitions=2)
    result = frame.img.write_images(tmp_path / "out")
    assert names(result) == ["00000-00000.png", "00000-00001.png", "00001-00000.png"]


def _numbered(frame):
    good = frame[~frame.path.str.contains("broken")].compute().reset_index(drop=True)
    good = good.assign(id=range(7), ts=pd.date_range("2024", periods=7), kind=list("aabbccd"))
    return dd.from_pandas(good, npartitions=2)


def test_a_template(frame, tmp_path):
    frame = _numbered(frame)
    template = "{kind}/{id:03d}_{ts:%Y%m%d}_{index}.webp"
    result = frame.img.write_images(tmp_path / "out", filename=template)
    assert names(result)[:2] == ["a/000_20240101_0.webp", "a/001_20240102_1.webp"]
    assert set(formats(result)) == {"WEBP"}


def test_a_template_without_extension_takes_the_formats_own(frame, tmp_path):
    result = _numbered(frame).img.write_images(tmp_path / "out", filename="{id}")
    assert names(result) == ["0.jpg", "1.jpg", "2.jpg", "3.png", "4.png", "5.png", "6.jpg"]


def test_a_column_of_names(frame, tmp_path):
    frame = _numbered(frame)
    frame["name"] = frame.kind + "/" + frame.id.astype("string[pyarrow]") + ".bmp"
    result = frame.img.write_images(tmp_path / "out", filename="name")
    assert names(result)[0] == "a/0.bmp"
    assert set(formats(result)) == {"BMP"}


def test_a_function_of_the_row(frame, tmp_path):
    def name(row):
        return f"{row['kind']}-{row['id']}{'.gif' if row['id'] % 2 else '.png'}"

    small = _numbered(frame)
    small["image"] = small.image.img.decode("L")
    result = small.img.write_images(tmp_path / "out", filename=name)
    assert names(result)[:3] == ["a-0.png", "a-1.gif", "b-2.png"]
    assert formats(result)[:3] == ["PNG", "GIF", "PNG"]


def test_partition_folders(frame, tmp_path):
    result = _numbered(frame).img.write_images(
        tmp_path / "out", filename="{id}.png", partition_cols="kind"
    )
    assert names(result)[:3] == ["kind=a/0.png", "kind=a/1.png", "kind=b/2.png"]
    back = di.read_images(tmp_path / "out", partitioning="hive")
    assert back.kind.compute().tolist() == list("aabbccd")


@pytest.mark.parametrize(
    "bad, why",
    [
        ("../up", "leaves the target"),
        ("/etc/up", "absolute"),
        ("C:up", "drive letter"),
        ("a\0b", "NUL"),
        ("x" * 300, "too long"),
    ],
)
def test_unsafe_names_fail_before_their_partition_is_written(frame, tmp_path, bad, why, one_thread):
    names = [f"ok{k}" for k in range(6)] + [bad]
    frame = _numbered(frame).compute().assign(name=names)
    for given in ("name", lambda row: row["name"]):
        with pytest.raises(FileNameError, match=why):
            frame.img.write_images(tmp_path / "out", filename=given)
        assert not list((tmp_path / "out").rglob("*.*"))


def test_values_in_a_template_are_no_folders(frame, tmp_path):
    for bad in ("../up", "a/b", "a\\b", ".."):
        named = _numbered(frame).assign(name=bad)
        with pytest.raises(FileNameError, match="would be a folder"):
            named.img.write_images(tmp_path / "out", filename="{name}/{id}.png")
    null = _numbered(frame).assign(name=None)
    with pytest.raises(FileNameError, match="null"):
        null.img.write_images(tmp_path / "out", filename="{name}{id}.png")
    words = _numbered(frame).assign(name="cat")
    with pytest.raises(FileNameError, match=r"the filename template asks for :d of 'cat'"):
        words.img.write_images(tmp_path / "new", filename="{name:d}{id}.png")


@pytest.mark.parametrize("name", ["", ".", "cats/"])
def test_a_file_has_a_name(frame, tmp_path, name):
    one = frame.compute().head(1)
    with pytest.raises(FileNameError, match=f"a file has a name; .* gave '{name}'"):
        one.img.write_images(tmp_path / "out", filename=lambda row: name)


def test_two_rows_of_one_name(frame, tmp_path, one_thread):
    with pytest.raises(FileNameError, match=r"two rows .* '\w\.png'"):
        _numbered(frame).img.write_images(tmp_path / "out", filename="{kind}.png")
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_link_that_leaves_the_target(frame, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileNameError, match="is a link that leaves"):
        _numbered(frame).img.write_images(tmp_path / "out", filename="a/{id}.png", mode="append")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_bad_arguments(frame, tmp_path):
    with pytest.raises(ValueError, match="file_format is one of jpeg, png"):
        frame.img.write_images(tmp_path / "out", file_format="psd")
    with pytest.raises(ValueError, match=r"file_format is one of jpeg, png.*got 5"):
        frame.img.write_images(tmp_path / "out", file_format=5)
    with pytest.raises(ValueError, match="quality is 1 to 100; got 0"):
        frame.img.write_images(tmp_path / "out", quality=0)
    with pytest.raises(ValueError, match=r"'id' is no column; there are \['path'\]"):
        frame.img.write_images(tmp_path / "out", filename="{id}.png")
    with pytest.raises(ValueError, match="'cat' is no column"):
        frame.img.write_images(tmp_path / "out", filename="cat")
    with pytest.raises(ValueError, match="no column 'kind'"):
        frame.img.write_images(tmp_path / "out", partition_cols="kind")
    with pytest.raises(TypeError, match="filename is a column"):
        frame.img.write_images(tmp_path / "out", filename=3)
    assert not (tmp_path / "out").exists()


def test_pandas_frames_need_no_dask(tmp_path):
    cells = pd.Series([np.full((4, 5, 3), 9, "uint8"), None], dtype="image")
    frame = pd.DataFrame({"image": cells, "n": [1, 2], "tags": [["a"], ["b", "c"]]})
    result = frame.img.write_images(tmp_path / "out", filename=lambda row: row["tags"][0])
    assert (result.rows, result.missing, names(result)) == (2, 1, ["a.png"])
    with PIL.Image.open(io.BytesIO(Path(result.files[0]).read_bytes())) as back:
        assert np.asarray(back).mean() == 9


def test_overwrite_never_removes_the_pictures_that_are_read(tmp_path):
    paths = make_images(tmp_path, 3, size=(8, 8), formats=("png",))
    df = di.read_images(tmp_path)
    df = df.assign(
        mask=df.image.img.convert("L"), name=df.path.str.extract(r"(\d+)\.png$", expand=False)
    )
    for _ in range(2):
        df.img.write_images(tmp_path, "mask", filename="{name}_mask.png", mode="overwrite")
        assert all(os.path.exists(path) for path in paths)
        assert len(list(tmp_path.glob("*_mask.png"))) == 3


def test_names_do_not_run_a_model(tmp_path):
    seen = []

    def model(batch):
        seen.append(batch["grey"].dtype)
        return {"n": np.arange(len(batch["grey"]))}

    make_images(tmp_path / "in", 3, size=(8, 8))
    df = di.read_images(tmp_path / "in")
    df = df.assign(grey=df.image.img.convert("L")).img.map_batches(
        model, columns="grey", meta={"n": "int64"}
    )
    result = df.img.write_images(tmp_path / "out", "image")
    assert result.rows == 3
    assert len(list((tmp_path / "out").glob("0*"))) == 3
    assert all(dtype == np.uint8 for dtype in seen)


def test_a_column_called_index_is_that_column(shop, tmp_path):
    named = di.read_images([shop / "cats", shop / "dogs"]).compute()
    named = named.assign(index=[f"n{row}" for row in range(len(named))])
    wanted = [f"n{row}.png" for row in range(6)]
    by_template = named.img.write_images(tmp_path / "a", file_format="png", filename="{index}.png")
    assert sorted(names(by_template)) == wanted
    by_function = named.img.write_images(
        tmp_path / "b", file_format="png", filename=lambda row: row["index"] + ".png"
    )
    assert sorted(names(by_function)) == wanted


def test_a_template_of_a_column_whose_name_has_dots(shop, tmp_path):
    named = di.read_images([shop / "cats", shop / "dogs"]).compute()
    named = named.assign(**{"seg.id": [f"n{row}" for row in range(len(named))], "a[0]": "x"})
    result = named.img.write_images(
        tmp_path / "out", file_format="png", filename="{seg.id:s}-{a[0]}.png"
    )
    assert sorted(names(result)) == [f"n{row}-x.png" for row in range(6)]


def test_pictures_without_a_path_are_appended_as_other_files(tmp_path):
    frame = di.from_array(np.zeros((2, 4, 4), "uint8"))
    first = frame.img.write_images(tmp_path / "out").files
    for n in (2, 3):
        result = frame.img.write_images(tmp_path / "out", mode="append")
        assert len({*result.files}) == 2 * n
        assert {*first} <= {*result.files}
    assert len(di.read_images(tmp_path / "out")) == 6
    over = frame.img.write_images(tmp_path / "out", mode="overwrite")
    assert over.files == first
