"""``{a,b}`` and ``{00..11}`` in a path, for every reader."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest

import daskimg as di
from daskimg.io.listing.braces import expanded
from daskimg.testing import make_images


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("s-{0,2}.tar", "s-0.tar s-2.tar"),
        ("s-{2,0}.tar", "s-2.tar s-0.tar"),
        ("{a,b}/{1..2}", "a/1 a/2 b/1 b/2"),
        ("{008..011}", "008 009 010 011"),
        ("{8..011}", "008 009 010 011"),
        ("{3..1}", "3 2 1"),
        ("{1..9..4}", "1 5 9"),
        ("x{,.gz}", "x x.gz"),
        ("{a{1,2},b}", "a1 b a2"),
        ("{label}/{1}/{}/}{", "{label}/{1}/{}/}{"),
        ("{1..a}", "{1..a}"),
        ("plain", "plain"),
    ],
)
def test_expansion(path, wanted):
    assert expanded(path) == wanted.split(" ")


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("protocol", ["", "memory://"])
@pytest.mark.parametrize("kind", ["images", "parquet", "numpy", "tfrecords", "webdataset"])
def test_every_reader(tmp_path, kind, protocol):
    memory = fsspec.filesystem("memory")
    endings = {"images": "png", "parquet": "parquet", "numpy": "npy", "tfrecords": "tfrecord"}
    names = [f"{n}.{endings.get(kind, 'tar')}" for n in range(4)]
    for n, name in enumerate(names):
        make_images(tmp_path / f"{n}", 1, size=(4, 4 + n), formats=["png"])
        if kind == "images":
            (source,) = (tmp_path / f"{n}").glob("*.png")
        elif kind == "numpy":
            np.save(source := tmp_path / name, np.full((1, 4, 5), n, np.uint8))
        else:
            frame = di.read_images(tmp_path / f"{n}")
            (source,) = getattr(frame.img, f"write_{kind}")(tmp_path / f"out{n}").files
        data = fsspec.open(source, "rb").open().read()
        (tmp_path / name).write_bytes(data)
        memory.pipe(f"{tmp_path}/{name}", data)
    read, ending = getattr(di, f"read_{kind}"), names[0][1:]
    widths = {"images": [4, 6], "numpy": [5, 5]}.get(kind, [4, 6])
    for braces in ("{0,2}", "{0..2..2}"):
        frame = read(f"{protocol}{tmp_path}/{braces}{ending}")
        image = next(name for name in frame.columns if "image" in str(frame.dtypes[name]))
        assert frame[image].img.width.compute(scheduler="sync").tolist() == widths
    assert len(read(f"{protocol}{tmp_path}/{{0..3}}{ending}")) == 4
    assert (
        len(read([f"{protocol}{tmp_path}/{{0,1}}{ending}", f"{protocol}{tmp_path}/3{ending}"])) == 3
    )
    with pytest.raises(FileNotFoundError, match=rf"7\{ending}"):
        read(f"{protocol}{tmp_path}/{{0,7}}{ending}")


@pytest.mark.parametrize("protocol", ["", "memory://"])
def test_a_name_that_has_braces(tmp_path, protocol):
    where = fsspec.filesystem("memory" if protocol else "file")
    (path,) = make_images(tmp_path / "one", 1, size=(4, 4), formats=["png"])
    name = f"{tmp_path}/{{0,2}}.png"
    where.pipe(name, Path(path).read_bytes())
    assert di.read_images(f"{protocol}{name}").path.compute().tolist() == [f"{protocol}{name}"]
