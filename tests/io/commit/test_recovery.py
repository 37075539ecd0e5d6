"""What goes on after a death: the same call, whatever does not change its rows."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import uuid
import zlib
from contextlib import suppress

import dask
import fsspec
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.io.commit import write
from daskimg.io.commit.run import Run
from daskimg.io.commit.target import Target
from daskimg.io.one_file import FileRun
from daskimg.testing import make_images
from tests.amount import EVERY_STEP
from tests.patience import PATIENCE

pytest_plugins = ["tests.servers"]


@pytest.fixture(autouse=True)
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture
def pictures(tmp_path):
    make_images(tmp_path / "p", 6, size=(4, 5), formats=["png"])
    return tmp_path / "p"


@pytest.fixture
def few(tmp_path):
    make_images(tmp_path / "few", 2, size=(4, 5), formats=["png"])
    return tmp_path / "few"


@pytest.fixture(params=["disk", "memory"])
def place(request, tmp_path) -> str:
    return str(tmp_path / "out") if request.param == "disk" else f"memory://{uuid.uuid4().hex}"


class Death(BaseException):
    """No `Exception`, so that nothing handles it."""


class DieAt:
    """Let a run die at its n-th step: what changes its target, or has changed it."""

    def __init__(self, monkeypatch, number: int) -> None:
        self.left = number
        for name in ("put", "create", "move", "remove"):
            monkeypatch.setattr(Target, name, self.counting(getattr(Target, name)))

    def counting(self, real):
        @functools.wraps(real)
        def step(target, names, *args, **kwargs):
            if real.__name__ == "remove":
                for name in list(names):
                    self.tick()
                    real(target, [name])
                return None
            self.tick()
            return real(target, names, *args, **kwargs)

        return step

    def tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Death


# -- the name of a query --------------------------------------------------------------------------
def read(pictures, **options):
    return di.read_images(pictures, files_per_partition=2, **options)


def killed(frame, place, monkeypatch, writer="write_parquet", **options) -> None:
    """Write, and die after two partitions."""
    record, done = Run.record, []

    def recorded(run, ticket):
        record(run, ticket)
        done.append(ticket)
        if len(done) == 2:
            raise Death

    with monkeypatch.context() as patch:
        patch.setattr(Run, "record", recorded)
        with pytest.raises(Death):
            getattr(frame.img, writer)(place, **options)


SCRIPT = """
import functools, sys
import daskimg as di
import dask
from helper import scaled
from daskimg.io.commit import write
from daskimg.io.commit.run import Run
LEVEL = 1
def helper(x):
    return x + {body}
def batch(b, by=1):
    return {{"y": [helper(by)] * len(b["image"])}}
class Model:
    def __init__(self, n):
        self.n, self.net = n, __import__("collections").OrderedDict(a=n)
    def __call__(self, b):
        return {{"y": [self.n + {body} + LEVEL] * len(b["image"])}}
    def bound(self, b):
        return self(b)
def made(n):
    def nested(b):
        return {{"y": [n + {body}] * len(b["image"])}}
    return nested
kinds = dict(function=batch, partial=functools.partial(batch, by=2), nested=made(3),
    instance=Model({arg}), bound=Model({arg}).bound, imported=scaled,
    anonymous=lambda b: {{"y": [{body}] * len(b["image"])}}, model=Model, other=Model)
if __name__ == "__main__":
    pictures, root, mode = sys.argv[1:4]
    record = Run.record
    for kind, fn in kinds.items():
        args = dict(model=({arg},), other=(3,)).get(kind, ())
        df = di.read_images(pictures, size=(4, 4), mode="RGB", files_per_partition=2)
        df = df.img.map_batches(fn, fn_constructor_args=args, columns=["image"],
            meta={{"y": "int64"}})
        done = []
        def recorded(run, ticket):
            record(run, ticket)
            done.append(1)
            if mode == "error" and len(done) == 2:
                raise KeyboardInterrupt
        Run.record = recorded
        try:
            with dask.config.set(scheduler="sync"):
                print(kind, df.img.write_parquet(f"{{root}}/{{kind}}", mode=mode).rows, len(done))
        except KeyboardInterrupt:
            pass
        except ValueError as error:
            print(kind, str(error).partition("what differs is ")[2].partition(". ")[0])
"""
HELPER = "def scaled(b):\n    return {'y': [7] * len(b['image'])}\n"


def script(tmp_path, pictures, mode, body=1, arg=5) -> dict[str, str]:
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "job.py").write_text(SCRIPT.format(body=body, arg=arg))
    call = [sys.executable, "-W", "ignore", str(tmp_path / "job.py")]
    call += [str(pictures), str(tmp_path / "out"), mode]
    done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.long
def test_functions_and_classes_of_a_script(pictures, tmp_path):
    """In the next process all are told by what they do; what changed is named."""
    assert script(tmp_path, pictures, "error") == {}
    changed = script(tmp_path, pictures, "resume", body=2)
    assert changed == {
        "function": "the function helper",
        "partial": "the function helper",
        "nested": "the function made.<locals>.nested",
        "instance": "the class Model",
        "bound": "the class Model",
        "imported": "6 1",
        "anonymous": "the function <lambda>",
        "model": "the class Model",
        "other": "the class Model",
    }
    again = script(tmp_path, pictures, "resume", arg=6)
    assert again["model"] == "the constructor arguments of Model"
    assert again["instance"] == "what Model holds"
    assert again["function"] == again["nested"] == again["anonymous"] == "6 1"
    assert again["other"] == "6 1"


def test_credentials_and_how_pictures_are_come_by(pictures, tmp_path, monkeypatch):
    fs = fsspec.filesystem("memory")
    for file in pictures.iterdir():
        fs.pipe_file(f"/{tmp_path.name}/{file.name}", file.read_bytes())

    def frame(token):
        df = read(f"memory://{tmp_path.name}", storage_options={"token": token})
        return df.assign(m=df.image.img.mean(), n=df.image.img.nbytes, w=df.image.img.width)

    killed(frame("old"), tmp_path / "o", monkeypatch, storage_options={"key": "old"})
    settings = {
        "daskimg.retries": 9,
        "daskimg.max-errors": 7,
        "daskimg.max-image-bytes": "64MiB",
        "daskimg.decode-processes": 1,
        "daskimg.decode-timeout": "7s",
    }
    again = {"storage_options": {"key": "new"}, "mode": "resume"}
    with dask.config.set(settings):
        assert frame("new").img.write_parquet(tmp_path / "o", **again).rows == 6


CALLS = {
    "the files listed (6 in 3 partitions then, 7 in 4 partitions now)": lambda df, p: read_more(p),
    "the columns": lambda df, p: df.assign(extra=1),
    "on_error": lambda df, p: read(p, on_error="null").pipe(prepared),
    "the step resize": lambda df, p: df.assign(small=df.image.img.resize(3, 2)),
}


def prepared(df):
    return df.assign(small=df.image.img.resize(2, 2))


def read_more(pictures):
    make_images(pictures / "more", 1, size=(4, 4), formats=["png"])
    return prepared(read(pictures))


@pytest.mark.parametrize("what", CALLS)
def test_what_differs_is_told(pictures, tmp_path, monkeypatch, what):
    frame = prepared(read(pictures))
    killed(frame, tmp_path / "o", monkeypatch)
    with pytest.raises(ValueError, match="another query's output: what differs is") as raised:
        CALLS[what](frame, pictures).img.write_parquet(tmp_path / "o", mode="resume")
    assert what in str(raised.value)
    assert frame.img.write_parquet(tmp_path / "o", mode="resume").rows == 6
    with pytest.raises(ValueError, match="another query's output: what differs is"):
        frame.assign(extra=1).img.write_parquet(tmp_path / "o", mode="resume")


def test_options_of_a_writer_are_told(pictures, tmp_path, monkeypatch):
    killed(read(pictures), tmp_path / "o", monkeypatch, "write_images")
    with pytest.raises(ValueError, match=r"what differs is .*file_format"):
        read(pictures).img.write_images(tmp_path / "o", file_format="jpeg", mode="resume")
    with pytest.raises(ValueError, match=r"what differs is .*the function .*lambda"):
        read(pictures).img.write_images(
            tmp_path / "o", filename=lambda row: row["path"][-5:], mode="resume"
        )


def test_a_version_stands_for_the_code(pictures, tmp_path, monkeypatch):
    def work(add):
        def added(batch):
            return {"y": [add] * len(batch["image"])}

        return added

    def frame(add, version):
        options = {"columns": ["image"], "meta": {"y": "int64"}, "version": version}
        return read(pictures).img.map_batches(work(add), **options)

    killed(frame(1, "a"), tmp_path / "o", monkeypatch)
    with pytest.raises(ValueError, match="differs is the function added"):
        frame(1, "b").img.write_parquet(tmp_path / "o", mode="resume")
    assert frame(2, "a").img.write_parquet(tmp_path / "o", mode="resume").rows == 6


# -- every point where a run may die --------------------------------------------------------------
def broken(pictures):
    (pictures / "z.png").write_bytes(b"no picture")
    df = read(pictures, on_error="null")
    return df.assign(image=df.image.img.decode("RGB"))


def contents(url: str) -> dict[str, bytes]:
    return {name: Target(url).read(name) for name in Target(url).files()}


@pytest.mark.sampled
@pytest.mark.parametrize("writer", ["write_parquet", "write_images"])
def test_killed_anywhere_with_errors(few, place, monkeypatch, writer):
    """Every step of a write with a folder of failed rows; then the same call, resumed."""
    frame = broken(few)
    write = getattr(frame.img, writer)
    write(f"{place}/whole", errors=f"{place}/whole-errors")
    whole = [contents(f"{place}/whole"), contents(f"{place}/whole-errors")]
    for number in range(1, 200, EVERY_STEP):
        out, errors = f"{place}/{number}", f"{place}/{number}-errors"
        with monkeypatch.context() as patch:
            step = DieAt(patch, number)
            try:
                write(out, errors=errors)
                assert step.left > 0
                break
            except Death:
                pass
        result = write(out, errors=errors, mode="resume")
        assert (result.rows, result.failed) == (3, 1), number
        assert [contents(out), contents(errors)] == whole, number
    assert number > 20


@pytest.mark.sampled
def test_one_file_killed_anywhere(few, tmp_path, monkeypatch):
    df = read(few, size=(4, 4), mode="RGB")[["image"]]
    df.img.write_numpy(tmp_path / "whole.npy")
    for number in range(1, 100, EVERY_STEP):
        out = tmp_path / f"{number}.npy"
        with monkeypatch.context() as patch:
            step = DieAt(patch, number)
            try:
                df.img.write_numpy(out)
                assert step.left > 0
                break
            except Death:
                pass
        assert df.img.write_numpy(out, mode="resume").rows == 2, number
        assert out.read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert number > 6
    assert all(name.endswith(".npy") or name == "few" for name in os.listdir(tmp_path))


@pytest.mark.sampled
def test_an_append_killed_anywhere_counts_its_own_rows(few, place, monkeypatch):
    frame, again = read(few), di.read_images(few, files_per_partition=1)
    for number in range(1, 100, EVERY_STEP):
        out = f"{place}/{number}"
        frame.img.write_parquet(out)
        with monkeypatch.context() as patch:
            step = DieAt(patch, number)
            try:
                again.img.write_parquet(out, mode="append")
                assert step.left > 0
                break
            except Death:
                pass
        try:
            result = again.img.write_parquet(out, mode="resume")
        except ValueError:  # it died before it had begun
            assert number == 1
            continue
        assert result.rows == 2, number
        assert len(di.read_parquet(out)) == 4
    assert number > 8


def test_errors_asked_for_on_resume(pictures, place, monkeypatch):
    """The partitions that lost rows are done again, or what to do is said."""
    (pictures / "a.png").write_bytes(b"no picture")  # in the first partition
    frame = broken(pictures)
    killed(frame, f"{place}/o", monkeypatch)
    result = frame.img.write_parquet(f"{place}/o", mode="resume", errors=f"{place}/e")
    assert (result.rows, result.failed, len(di.read_parquet(f"{place}/e"))) == (8, 2, 2)
    frame.img.write_parquet(f"{place}/done")
    with pytest.raises(ValueError, match=r"without errors=.*2 failed rows.*overwrite"):
        frame.img.write_parquet(f"{place}/done", mode="resume", errors=f"{place}/e2")
    whole = read(pictures).partitions[1:2]
    whole.img.write_parquet(f"{place}/fine")
    whole.img.write_parquet(f"{place}/fine", mode="resume", errors=f"{place}/e3")
    assert len(di.read_parquet(f"{place}/e3")) == 0


# -- power cuts -----------------------------------------------------------------------------------
@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("pattern", ["*.parquet", "0*.json", "query.json", "commit-*"])
@pytest.mark.parametrize("left", [b"", b"{", b"[1]", b"null", b'{"partition": 0}'])
def test_files_cut_between_death_and_resume(pictures, tmp_path, monkeypatch, pattern, left):
    frame, out = read(pictures), tmp_path / "o"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "commit", lambda run, tickets: (_ for _ in ()).throw(Death))
        with pytest.raises(Death):
            frame.img.write_parquet(out)
    for file in out.rglob(pattern):
        file.write_bytes(left)
    assert frame.img.write_parquet(out, mode="resume").rows == 6
    assert len(pd.read_parquet(out)) == 6


def test_a_file_that_changed_before_the_commit_publishes_nothing(pictures, tmp_path, monkeypatch):
    commit, out = Run.commit, tmp_path / "o"

    def cut(run, tickets):
        sorted(out.rglob("*.parquet"))[1].write_bytes(b"PAR1")
        return commit(run, tickets)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "commit", cut)
        with pytest.raises(OSError, match=r"part-00001.parquet' was written with .* has 4 now"):
            read(pictures).img.write_parquet(out)
    assert not list(out.glob("*.parquet"))
    assert read(pictures).img.write_parquet(out, mode="resume").rows == 6


# -- two at once ----------------------------------------------------------------------------------
def overlapping(place, one, other, storage_options=None):
    """Two writes whose files are put before either is committed; what each says."""
    said, started, begun, met = {}, threading.Barrier(2), threading.Barrier(2), set()
    commit, begin = Run.commit, write.begin

    def both(*how):
        run = begin(*how)
        started.wait(PATIENCE)
        return run

    def together(run, tickets):
        begun.wait(PATIENCE)
        met.add(threading.get_ident())
        return commit(run, tickets)

    def work(name, writes):
        try:
            with dask.config.set(scheduler="sync"):
                said[name] = writes(place, storage_options=storage_options).rows
        except threading.BrokenBarrierError:
            pass  # the other failed before they met
        except (OSError, ValueError) as error:
            said[name] = str(error)
            if threading.get_ident() not in met:  # nobody need wait for it
                started.abort()
                begun.abort()

    Run.commit, write.begin = together, both
    try:
        calls = [("one", one), ("other", other)]
        threads = [threading.Thread(target=work, args=call) for call in calls]
        [thread.start() for thread in threads]
        [thread.join(2 * PATIENCE) for thread in threads]
    finally:
        Run.commit, write.begin = commit, begin
    return said


@pytest.fixture(params=["disk", "memory", "s3"])
def store(request, tmp_path):
    if request.param != "s3":
        url = str(tmp_path / "o") if request.param == "disk" else f"memory://{uuid.uuid4().hex}"
        return url, None
    options = request.getfixturevalue("s3_server").storage_options
    bucket = f"b{uuid.uuid4().hex}"
    fsspec.filesystem("s3", **options).mkdir(bucket)
    return f"s3://{bucket}/o", options


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("writer", ["write_parquet", "write_images", "write_csv"])
def test_of_two_writes_one_says_written_and_its_rows_are_there(pictures, tmp_path, store, writer):
    make_images(tmp_path / "q", 6, size=(9, 9), formats=["png"])
    place, options = store
    frames = [read(folder) for folder in (pictures, tmp_path / "q")]
    if writer == "write_csv":
        frames = [df.assign(w=df.image.img.width)[["w"]] for df in frames]
    said = overlapping(place, *(getattr(df.img, writer) for df in frames), options)
    written = [name for name, what in said.items() if what == 6]
    collided = writer == "write_images" and not written
    assert len(written) == 1 or collided, said
    if collided:  # each took a name of the other's: nothing counts
        assert all("nothing is published" in str(what) for what in said.values())
        return
    target = Target(place, options)
    listed = json.loads(target.read("_daskimg/manifest.json"))["files"]
    for file in listed:
        assert f"{zlib.crc32(target.read(file['name'])):08x}" == file["crc32"]


def test_neat_names_on_stores_that_know_conditions_and_own_ones_elsewhere(pictures, monkeypatch):
    place = f"memory://{uuid.uuid4().hex}"
    names = [file.rpartition("/")[2] for file in read(pictures).img.write_parquet(place).files]
    assert names == [f"part-0000{n}.parquet" for n in range(3)]
    monkeypatch.setattr(Target, "creates", False)
    place = f"memory://{uuid.uuid4().hex}"
    names = [file.rpartition("/")[2] for file in read(pictures).img.write_parquet(place).files]
    assert all(len(name) == len("part-00000-12345678.parquet") for name in names)
    assert len(di.read_parquet(place)) == 6


# -- names out of files ---------------------------------------------------------------------------
@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", ["../precious", "/etc/precious", "a/../../precious", "link/x"])
@pytest.mark.parametrize("where", ["replaces", "files", "tickets", "errors"])
def test_names_out_of_manifests_and_tickets_are_checked(
    pictures, tmp_path, monkeypatch, name, where
):
    out, precious = tmp_path / "o", tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_text("dear")
    frame = read(pictures)
    if where in ("tickets", "errors"):
        killed(frame, out, monkeypatch)
        file = next(out.rglob("0*.json"))
        ticket = json.loads(file.read_text())
        planted = [{"name": f"{name}/x", "bytes": 4, "crc32": ""}]
        ticket.update({"files": planted} if where == "tickets" else {"errors": {"files": planted}})
        file.write_text(json.dumps(ticket))
    else:
        result = frame.img.write_parquet(out)
        file = out / "_daskimg" / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest[where] = [f"{name}/x"] if where == "replaces" else [{"name": name, "bytes": 4}]
        file.write_text(json.dumps(manifest))
        if name != "link/x":
            with pytest.raises(ValueError, match="unsafe file name"):
                di.read_parquet(out)
        if name != "link/x" and where == "files":
            with pytest.raises(ValueError, match="unsafe file name"):
                _ = type(result)(6, 0, result.manifest).files
        (out / "_daskimg" / "_SUCCESS").unlink()
    (out / "link").symlink_to(precious)
    if where == "replaces" and name == "link/x":
        manifest[where] = ["link/x"]
        file.write_text(json.dumps(manifest))
    try:
        frame.img.write_parquet(out, mode="resume")
    except ValueError as error:
        assert "unsafe file name" in str(error)  # noqa: PT017
    assert (precious / "x").read_text() == "dear"


WRONG = [None, 2**70, 1e308, float("inf"), "x", {"a": []}]


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_values_of_wrong_kinds_in_manifests_and_tickets(pictures, tmp_path, monkeypatch, wrong):
    """An error that says what is damaged, or another write of that partition; never more."""
    frame = read(pictures)
    frame.img.write_parquet(tmp_path / "whole")
    file = tmp_path / "whole" / "_daskimg" / "manifest.json"
    manifest = json.loads(file.read_text())
    for key in manifest:
        file.write_text(json.dumps({**manifest, key: wrong}))
        with suppress(ValueError):
            assert len(di.read_parquet(tmp_path / "whole")) == 6
        with suppress(ValueError):
            frame.img.write_parquet(tmp_path / "whole", mode="resume")
    for key in ("name", "bytes"):
        file.write_text(json.dumps({**manifest, "files": [{**manifest["files"][0], key: wrong}]}))
        with suppress(ValueError, FileNotFoundError):
            di.read_parquet(tmp_path / "whole")
    killed(frame, tmp_path / "half", monkeypatch)
    monkeypatch.undo()
    for key in ("partition", "rows", "files", "reasons"):
        shutil.rmtree(tmp_path / "again", ignore_errors=True)
        shutil.copytree(tmp_path / "half", tmp_path / "again")
        for ticket in (tmp_path / "again").rglob("0*.json"):
            ticket.write_text(json.dumps({**json.loads(ticket.read_text()), key: wrong}))
        for facts in (tmp_path / "again").rglob("query.json"):
            facts.write_text(json.dumps({"the writer": wrong}))
        with suppress(ValueError):
            frame.img.write_parquet(tmp_path / "again", mode="resume")


# -- stores that answer 503 -----------------------------------------------------------------------
class BusyError(Exception):
    status = 503


@pytest.mark.parametrize("mode", ["error", "overwrite", "append", "resume"])
def test_each_request_about_a_target_is_tried_again(pictures, monkeypatch, mode):
    fs = fsspec.filesystem("memory")
    place = f"memory://{uuid.uuid4().hex}"
    frame = read(pictures)
    if mode != "error":
        frame.img.write_parquet(place)
    calls, within = {}, []

    def failing(name, real):
        def call(*args, **kwargs):
            if within:  # what a filesystem asks of itself
                return real(*args, **kwargs)
            calls[name] = calls.get(name, 0) + 1
            if calls[name] % 2:
                raise BusyError
            within.append(name)
            try:
                return real(*args, **kwargs)
            finally:
                within.pop()

        return call

    for name in ("info", "find", "ls", "rm_file", "pipe_file"):
        monkeypatch.setattr(type(fs), name, failing(name, getattr(type(fs), name)))
    monkeypatch.setattr("daskimg.transport.retry.FIRST_DELAY", 0.0)
    assert frame.img.write_parquet(place, mode=mode).rows == 6
    assert calls["info"] > 1


# -- no rows --------------------------------------------------------------------------------------
def test_no_rows_no_file_where_files_are(pictures, place):
    frame = read(pictures).assign(n=lambda df: df.image.img.width)
    none = frame[frame.n > 99]
    result = none.img.write_parquet(place, partition_cols="n")
    assert len(result.files) == 1  # which tells the columns
    assert (len(di.read_parquet(place)), di.read_parquet(place).n.dtype) == (0, "Int64")
    assert frame.img.write_parquet(place, partition_cols="n", mode="append").rows == 6
    assert none.img.write_parquet(place, partition_cols="n", mode="append").rows == 0
    names = [name for name in Target(place).files() if not name.startswith("_")]
    assert len(names) == 3
    assert all(name.startswith("n=5/") for name in names)
    assert len(di.read_parquet(place)) == 6
    if not place.startswith("memory"):
        import duckdb

        assert len(pd.read_parquet(place)) == 6
        assert duckdb.sql(f"select n from '{place}/**/*.parquet'").fetchall() == [(5,)] * 6


def test_a_torch_module_inside(pictures, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.layer = torch.nn.Linear(2, 1)

        def __call__(self, batch):
            return {"y": [1] * len(batch["image"])}

    def frame(seed):
        options = {"columns": ["image"], "meta": {"y": "int64"}}
        return read(pictures).img.map_batches(Net(seed), **options)

    killed(frame(1), tmp_path / "o", monkeypatch)
    with pytest.raises(ValueError, match="what differs is"):
        frame(2).img.write_parquet(tmp_path / "o", mode="resume")
    assert frame(1).img.write_parquet(tmp_path / "o", mode="resume").rows == 6


def test_one_file_says_what_it_had(pictures, tmp_path, monkeypatch):
    df = broken(pictures)
    df = df.assign(image=df.image.img.resize(2, 2))[["image"]]
    with monkeypatch.context() as patch:
        patch.setattr(FileRun, "discard", lambda run: (_ for _ in ()).throw(Death))
        with pytest.raises(Death):
            df.img.write_numpy(tmp_path / "o.npy")
    result = df.img.write_numpy(tmp_path / "o.npy", mode="resume")
    assert (result.rows, result.failed, result.written) == (7, 1, 6)
    assert np.load(tmp_path / "o.npy").shape == (6, 2, 2, 3)
    assert textwrap.dedent(str(result)) == "6 written, 1 failed: 1 not an image"
