"""What a write leaves behind: everything, or nothing that counts."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
import zlib
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import daskimg as di
from daskimg import metrics
from daskimg.io.commit.names import FileNameError, check_name
from daskimg.io.commit.result import WriteResult
from daskimg.io.commit.target import Target
from daskimg.io.commit.writing import Writing
from daskimg.testing import make_images
from tests.patience import PATIENCE

pytest_plugins = ["tests.servers"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    make_images(folder, 12, size=(8, 10), formats=["png"])
    return str(folder)


@pytest.fixture
def frame(pictures):
    return di.read_images(pictures, files_per_partition=4)


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path) -> str:
    return str(tmp_path / "out") if request.param == "disk" else f"memory://{uuid.uuid4().hex}"


def data_files(url: str) -> list[str]:
    return [name for name in Target(url).files() if not name.startswith("_daskimg")]


def own_files(url: str) -> list[str]:
    return sorted(name for name in Target(url).files() if name.startswith("_daskimg"))


def manifest(url: str) -> dict:
    return json.loads(Target(url).read("_daskimg/manifest.json"))


# -- names --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "../1.png",
        "a/../../1.png",
        "/etc/passwd",
        "C:1.png",
        "c:\\1.png",
        "a\\b.png",
        "a\0.png",
        "a\n.png",
        "",
        "a//b.png",
        "./a.png",
        "a/",
        "s3://bucket/a.png",
        "_daskimg/manifest.json",
        "x" * 256 + ".png",
        "/".join(["y" * 200] * 6),
        "\udcff.png",
    ],
)
def test_unsafe_names_are_refused(name):
    with pytest.raises(FileNameError, match="unsafe file name"):
        check_name(name)


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "ü/é 1.png", "..a.png", "a..b", "x" * 255])
def test_other_names_are_not(name):
    assert check_name(name) == name


# -- what a write leaves ------------------------------------------------------------------------
def test_manifest_tells_files_and_checksums_and_the_mark_tells_the_manifest(frame, place):
    result = frame.img.write_parquet(place)
    found = manifest(place)
    target = Target(place)
    assert (result.rows, result.failed, result.missing, result.written) == (12, 0, 0, 12)
    assert [part["rows"] for part in found["partitions"]] == [4, 4, 4]
    assert [file["name"] for file in found["files"]] == sorted(data_files(place))
    for file in found["files"]:
        data = target.read(file["name"])
        assert len(data) == file["bytes"]
        assert f"{zlib.crc32(data):08x}" == file["crc32"]
    text = target.read("_daskimg/manifest.json")
    mark = target.read("_daskimg/_SUCCESS").decode()
    assert mark == hashlib.blake2b(text, digest_size=16).hexdigest()
    assert own_files(place) == ["_daskimg/_SUCCESS", "_daskimg/manifest.json"]
    assert result.files == [target.href(file["name"]) for file in found["files"]]


def test_a_summary_groups_reasons():
    result = WriteResult(1_000_000, 129, "", 1, {"truncated": 42, "not found": 87}, "errors")
    assert str(result) == (
        "999,870 written, 129 failed: 87 not found, 42 truncated, 1 missing; see errors"
    )
    assert repr(result) == f"WriteResult({result})"


@pytest.mark.parametrize("kind", ["parquet", "tfrecords", "webdataset", "images"])
def test_a_writer_says_what_failed_for_what_and_where_to_look(pictures, tmp_path, kind):
    (tmp_path / "text.png").write_bytes(b"just a text")
    whole = min(Path(pictures).iterdir()).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    files = [pictures, *(str(tmp_path / name) for name in ("text.png", "cut.png"))]
    frame = di.read_images(files, on_error="null", files_per_partition=4)
    frame = frame.assign(image=frame.image.img.decode())
    where, write = tmp_path / "errors", getattr(frame.img, f"write_{kind}")
    wanted = f"12 written, 2 failed: 1 not an image, 1 truncated; see {where}"
    assert str(write(tmp_path / "out", errors=where)) == wanted
    assert str(write(tmp_path / "out", errors=where, mode="resume")) == wanted  # it was finished


def test_no_credential_reaches_the_manifest(pictures):
    place, secret = f"memory://{uuid.uuid4().hex}", "hunter2-secret"
    options = {"token": secret}
    frame = di.read_images(pictures)
    result = frame.img.write_parquet(place, storage_options=options, embed=False)
    for name in Target(place).files():
        assert secret.encode() not in Target(place).read(name)
    assert secret not in repr(result)
    lazy = di.read_parquet(place, storage_options=options)
    assert secret not in repr(lazy) + str(lazy.expr.tree_repr())


# -- modes --------------------------------------------------------------------------------------
def test_error_refuses_what_is_not_empty_and_touches_nothing(frame, place):
    Target(place).put("mine.txt", b"mine")
    with pytest.raises(FileExistsError, match=place.rpartition("/")[2]):
        frame.img.write_parquet(place)
    assert list(Target(place).files()) == ["mine.txt"]


def test_error_refuses_a_file(frame, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="this is a file"):
        frame.img.write_parquet(tmp_path / "file", mode="overwrite")


def test_an_empty_folder_is_fine(frame, tmp_path):
    (tmp_path / "out").mkdir()
    assert frame.img.write_parquet(tmp_path / "out").rows == 12


def test_unknown_mode(frame, place):
    with pytest.raises(ValueError, match="error, overwrite, append, resume; got 'replace'"):
        frame.img.write_parquet(place, mode="replace")


def test_overwrite_leaves_the_new_only(frame, place):
    frame.img.write_parquet(place)
    Target(place).put("other/old.txt", b"old")
    Target(place).put("other/part.0.parquet", b"of another program")
    part = frame.partitions[:2]
    result = part.img.write_parquet(place, mode="overwrite")
    assert result.rows == 8
    # text beside them is nobody's to remove; another program's Parquet would be read with ours
    written = [name for name in data_files(place) if name.endswith(".parquet")]
    assert len(written) == 2
    assert "other/old.txt" in data_files(place)
    assert len(di.read_parquet(place)) == 8
    assert own_files(place) == ["_daskimg/_SUCCESS", "_daskimg/manifest.json"]


def test_overwrite_that_fails_keeps_the_old(frame, place):
    frame.img.write_parquet(place)
    before = {name: Target(place).read(name) for name in Target(place).files()}

    def fail(pixels):
        raise RuntimeError("no")

    bad = frame.assign(image=frame.image.img.apply(fail))
    with pytest.raises(di.ImageError, match="no"):
        bad.img.write_parquet(place, mode="overwrite")
    after = {name: Target(place).read(name) for name in before}
    assert after == before
    assert len(di.read_parquet(place)) == 12


def test_overwrite_of_what_is_being_read(frame, place):
    frame.img.write_parquet(place)
    again = di.read_parquet(place)
    again.assign(n=again.image.img.nbytes).img.write_parquet(place, mode="overwrite")
    found = di.read_parquet(place).compute()
    assert (found.n > 0).all()
    assert len(found) == 12


def test_append_adds(frame, place):
    frame.img.write_parquet(place)
    result = frame.partitions[:1].img.write_parquet(place, mode="append")
    frame.partitions[1:].img.write_parquet(place, mode="append")
    assert result.rows == 4
    assert manifest(place)["rows"] == 24
    found = di.read_parquet(place).compute()
    assert found.path.tolist() == frame.path.compute().tolist() * 2
    assert found.index.equals(pd.RangeIndex(24))


def test_append_to_what_another_program_wrote(frame, tmp_path):
    plain = frame.assign(image=frame.image.img.nbytes)
    plain.to_parquet(tmp_path / "out", write_index=False)
    result = plain.img.write_parquet(tmp_path / "out", mode="append")
    assert result.rows == 12
    assert len(pd.read_parquet(tmp_path / "out")) == 24
    assert len(di.read_parquet(tmp_path / "out")) == 24


CHANGES = {
    "a column more": (lambda d: d.assign(m=1.5), "'m' is not there and double here"),
    "a column less": (lambda d: d.drop(columns="n"), "'n' is int64 there and not here"),
    "another dtype": (
        lambda d: d.assign(n=d.n.astype("string[pyarrow]")),
        "'n' is int64 there and large_string",
    ),
    "other pictures": (
        lambda d: d.assign(image=d.image.img.resize(2, 3)),
        "'image' is struct.* there and",
    ),
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("change", CHANGES)
def test_append_of_other_columns_is_refused_before_anything_is_written(frame, place, change):
    frame = frame.assign(n=1)
    frame.img.write_parquet(place)
    before = {name: Target(place).read(name) for name in Target(place).files()}
    make, text = CHANGES[change]
    metrics.reset()
    with pytest.raises(ValueError, match=f"holds other columns: .*{text}.*Nothing was written"):
        make(frame).img.write_parquet(place, mode="append")
    with pytest.raises(ValueError, match="folders are of"):
        frame.img.write_parquet(place, mode="append", partition_cols="n")
    assert not metrics.snapshot().get("decode")
    assert {name: Target(place).read(name) for name in Target(place).files()} == before


def test_append_of_other_rows_to_arrays_and_tables(frame, place):
    small = frame.assign(image=frame.image.img.decode("RGB").img.resize(2, 3))
    small.img.write_numpy(f"{place}/arrays")
    small.img.write_numpy(f"{place}/arrays", mode="append")
    with pytest.raises(ValueError, match=r"rows of shape \(2, 3, 3\), uint8, and these are"):
        small.assign(image=small.image.img.resize(4, 4)).img.write_numpy(
            f"{place}/arrays", mode="append"
        )
    with pytest.raises(ValueError, match="'m' is not there"):
        small.assign(m=1).img.write_numpy(f"{place}/arrays", mode="append")
    for packed in (None, "gzip"):
        table, where = frame.drop(columns="image"), f"{place}/csv-{packed}"
        table.img.write_csv(where, compression=packed)
        assert table.img.write_csv(where, mode="append", compression=packed).rows == 12
        with pytest.raises(ValueError, match="begin with"):
            table.assign(m=1).img.write_csv(where, mode="append")
    assert len(di.read_numpy(f"{place}/arrays")) == 24


def test_append_with_a_named_index(frame, place):
    named = frame.set_index("path", sort=False) if "path" in frame else frame
    named.img.write_parquet(place)
    named.img.write_parquet(place, mode="append")
    assert len(di.read_parquet(place)) == 24


def test_append_of_another_kind(frame, place):
    frame.img.write_parquet(place)
    with pytest.raises(ValueError, match="holds parquet; images cannot be appended"):
        frame.img.write_images(place, mode="append")


def test_append_with_a_name_that_is_there(frame, place):
    frame.img.write_images(place)
    before = {name: Target(place).read(name) for name in data_files(place)}
    thumbs = frame.assign(image=frame.image.img.resize(3, 3))
    with pytest.raises(FileNameError, match="nothing is published"):
        thumbs.img.write_images(place, mode="append")
    assert {name: Target(place).read(name) for name in data_files(place)} == before
    assert manifest(place)["rows"] == 12


def test_collision_over_partitions_publishes_nothing(pictures, place):
    frame = di.read_images(pictures, files_per_partition=1).assign(name="same")
    with pytest.raises(FileNameError, match=r"'same\.png'.*nothing is published"):
        frame.img.write_images(place, filename="name")
    assert not Target(place).files()


def test_a_collision_leaves_nothing_of_threads_that_still_write(pictures):
    """On a store files have their names at once: one is put and not listed when others collide."""
    place = f"memory://{uuid.uuid4().hex}"
    last = max(Target(pictures).files())
    put, is_put = Writing.put, threading.Event()

    def slowly(run, name, data):
        made = put(run, name, data)
        if name == "slow.png":
            is_put.set()
            time.sleep(0.3)
        return made

    def name(row):
        if row["path"].endswith(last):
            return "slow.png"
        is_put.wait(PATIENCE)
        return "same.png"

    frame = di.read_images(pictures, files_per_partition=1)
    with (
        dask.config.set(scheduler="threads", num_workers=12),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(Writing, "put", slowly)
        with pytest.raises(FileNameError, match="nothing is published"):
            frame.img.write_images(place, filename=name)
    assert is_put.is_set()
    assert not Target(place).files()


def test_a_name_that_is_a_folder_too(frame, place):
    names = ["a.png", "a.png/b.png"]
    frame = pd.DataFrame({"image": frame.image.compute().iloc[:2], "name": names})
    with pytest.raises(FileNameError, match=r"'a\.png"):
        frame.img.write_images(place, filename="name")
    assert not Target(place).files()


def test_lazy_results_run_together(frame, tmp_path):
    one = frame.img.write_parquet(tmp_path / "one", compute=False)
    two = frame.img.write_images(tmp_path / "two", compute=False)
    assert not (tmp_path / "one").exists()
    first, second, mean = dask.compute(one, two, frame.image.img.mean().mean())
    assert (first.rows, second.rows) == (12, 12)
    assert 0 < mean < 255


# -- dying and going on -------------------------------------------------------------------------
def stop_at(limit: int, folder: Path):
    """A function of pixels that fails once `limit` pictures went through it, this run."""

    def count(pixels: np.ndarray) -> np.ndarray:
        seen = folder / "seen"
        seen.mkdir(exist_ok=True)
        (seen / uuid.uuid4().hex).touch()
        if len(list(seen.iterdir())) > limit and not (folder / "go").exists():
            raise RuntimeError("stop")
        return pixels[::-1]

    return count


@pytest.mark.parametrize("writer", ["write_parquet", "write_images"])
def test_resume_goes_on_and_ends_equal(frame, place, tmp_path, writer):
    count = stop_at(8, tmp_path)
    flipped = frame.assign(image=frame.image.img.apply(count))
    with (
        dask.config.set(scheduler="sync"),
        pytest.raises(di.ImageError, match="stop"),
    ):
        getattr(flipped.img, writer)(place)
    assert not Target(place).has("_daskimg/_SUCCESS")
    with pytest.raises(FileExistsError, match="resume"):
        getattr(flipped.img, writer)(place)
    with pytest.raises(ValueError, match="another query"):
        getattr(frame.img, writer)(place, mode="resume")
    (tmp_path / "go").touch()
    done = len(list((tmp_path / "seen").iterdir()))
    with dask.config.set(scheduler="sync"):
        result = getattr(flipped.img, writer)(place, mode="resume")
    assert result.rows == 12
    assert len(list((tmp_path / "seen").iterdir())) == done + 4  # the third partition alone
    whole = str(tmp_path / "whole")
    getattr(flipped.img, writer)(whole)
    names = Target(whole).files()
    assert list(Target(place).files()) == list(names)
    for name in names:
        assert Target(place).read(name) == Target(whole).read(name), name


def test_resume_of_what_is_done_writes_nothing(frame, place):
    first = frame.img.write_parquet(place)
    Target(place).remove(["_daskimg/_SUCCESS"])  # as if it died before its last step
    di.metrics.reset()
    again = frame.img.write_parquet(place, mode="resume")
    assert di.metrics.snapshot() == {}
    assert again == first
    assert Target(place).has("_daskimg/_SUCCESS")


def test_resume_into_an_empty_place_is_a_write(frame, place):
    assert frame.img.write_parquet(place, mode="resume").rows == 12


def test_reading_what_never_finished(frame, place):
    Target(place).put("_daskimg/run-error-0-abc/00000.json", b"{}")
    Target(place).put("part-00000.parquet", b"half")
    with pytest.raises(ValueError, match="never finished"):
        di.read_parquet(place)


# Once a partition is written, the next ones wait to be killed.
SLOW = """
import sys, time
from pathlib import Path
import dask
import daskimg as di
folder, place = sys.argv[1:]
def slow(pixels):
    time.sleep(0.05)
    while any(Path(place).glob("_daskimg/run-*/*.json")):
        time.sleep(0.05)
    return pixels
if __name__ == "__main__":
    frame = di.read_images(folder, files_per_partition=2)
    with dask.config.set(scheduler="threads", num_workers=2):
        frame.assign(image=frame.image.img.apply(slow)).img.write_parquet(place)
"""


def test_a_killed_process_leaves_no_half_file_and_no_mark(pictures, tmp_path):
    script, place = tmp_path / "slow.py", tmp_path / "out"
    script.write_text(SLOW)
    writer = subprocess.Popen([sys.executable, str(script), pictures, str(place)])
    try:
        while not list(place.glob("_daskimg/run-*/*.json")):
            assert writer.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    assert not (place / "_daskimg/_SUCCESS").exists()
    assert not (place / "_daskimg/manifest.json").exists()
    assert not list(place.glob("*.parquet"))
    for file in place.rglob("*.parquet"):
        pq.read_table(file)  # whole, wherever it is
    with pytest.raises(ValueError, match="never finished"):
        di.read_parquet(place)


# -- an object store over HTTP ------------------------------------------------------------------
def test_s3(frame, s3_server):
    import s3fs

    options = s3_server.storage_options
    bucket = f"b{uuid.uuid4().hex}"
    s3fs.S3FileSystem(**options).mkdir(bucket)
    place = f"s3://{bucket}/out"
    result = frame.img.write_parquet(place, storage_options=options)
    found = di.read_parquet(place, storage_options=options)
    assert found.image.img.width.compute().tolist() == [10] * 12
    assert result.files[0] == f"{place}/part-00000.parquet"
    with pytest.raises(FileExistsError):
        frame.img.write_parquet(place, storage_options=options)
    frame.img.write_parquet(place, storage_options=options, mode="append")
    assert len(di.read_parquet(place, storage_options=options)) == 24
    frame.img.write_parquet(place, storage_options=options, mode="overwrite")
    assert len(di.read_parquet(place, storage_options=options)) == 12
    pictures = f"s3://{bucket}/pictures"
    result = frame.img.write_images(pictures, storage_options=options)
    back = di.read_images(pictures, storage_options=options)
    assert back.path.compute().tolist() == result.files
    assert back.image.img.mean().compute().tolist() == frame.image.img.mean().compute().tolist()
    assert "test-secret-key" not in repr(result)
