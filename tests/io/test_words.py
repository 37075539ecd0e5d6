"""Words of other libraries: `file_format` is taken by `read_images`, else an error names ours."""

import inspect

import pandas as pd
import pytest
from PIL import Image

import daskimg as di


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "b.JPEG", "c.jfif", "d.png", "e.tif"):
        kind = "png" if name == "d.png" else "tiff" if name == "e.tif" else "jpeg"
        Image.new("RGB", (6, 4)).save(tmp_path / name, kind)
    return tmp_path


@pytest.mark.parametrize(
    "given, found",
    [
        ("jpeg", "abc"),
        ("JPG", "abc"),
        (".jpg", "abc"),
        ("png", "d"),
        (["png", "tiff"], "de"),
        (None, "abcde"),
    ],
)
def test_file_format_of_read_images(folder, given, found):
    paths = di.read_images(folder, file_format=given).path.compute()
    assert [path.rsplit("/", 1)[1][0] for path in paths] == list(found)


def test_file_format_that_is_none(folder):
    with pytest.raises(ValueError, match=r"file_format is one of JPEG, PNG.*got 'doc'"):
        di.read_images(folder, file_format="doc")
    with pytest.raises(TypeError, match="got file_extensions= and file_format="):
        di.read_images(folder, file_format="png", file_extensions="png")


FRAME = pd.DataFrame({"image": pd.Series([None], dtype="image")})


@pytest.mark.parametrize(
    "call, given, told",
    [
        (di.read_images, "compute", "compute"),
        (di.read_images, "engine", "one engine"),
        (di.read_images, "include_path", "include_paths="),
        (di.read_images, "parallelism", "files_per_partition= or blocksize="),
        (di.read_images, "filesystem", "storage_options="),
        (di.read_images, "file_extension", "mean file_extensions="),
        (di.read_images, "nonsense", "it takes urlpath, file_extensions"),
        (di.read_parquet, "override_num_blocks", "blocksize="),
        (di.read_parquet, "file_format", "reader of its own"),
        (di.read_webdataset, "npartitions", "rows_per_partition="),
        (di.read_tfrecords, "chunksize", "records_per_partition="),
        (di.read_numpy, "file_format", "file_extensions="),
        (di.read_sql, "chunksize", "npartitions="),
        (di.from_array, "chunks", "rechunk"),
        (di.images, "filesystem", "storage_options="),
        (FRAME.img.write_images, "format", "file_format="),
        (FRAME.img.write_parquet, "overwrite", 'mode="overwrite"'),
        (FRAME.img.write_parquet, "engine", "one engine"),
        (FRAME.img.write_csv, "filesystem", "storage_options="),
        (FRAME.img.write_tfrecords, "npartitions", "repartition"),
        (FRAME.img.map_batches, "num_workers", "concurrency="),
        (FRAME.img.map_batches, "compute", "concurrency="),
        (FRAME.img.map_batches, "zero_copy_batch", "copy"),
        (FRAME.img.map, "num_workers", "map_batches"),
    ],
)
def test_words_that_are_not_taken(call, given, told):
    with pytest.raises(TypeError, match=f"has no {given}=: .*{told}"):
        call("anything", **{given: 1})
    assert given not in inspect.signature(call).parameters


def test_our_name_for_the_first_argument():
    with pytest.raises(TypeError, match="has no paths=: it is urlpath="):
        di.read_images(paths="a")
