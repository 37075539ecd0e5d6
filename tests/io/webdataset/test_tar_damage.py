"""What can be wrong with a tar file: whole samples stay whole, the rest is rows with a reason."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import time

import numpy as np
import pandas as pd
import pytest

import daskimg as di
from tests.io.webdataset.test_webdataset import png, tar_bytes

KEYS = ["a/0", "a/1", "a/2", "a/3"]
FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


def entry(name, data=b"", **info) -> tuple:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in info.items():
        setattr(member, key, value)
    return member, data


def packed(entries, form=tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for member, data in entries:
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def read(path, per=None, **options) -> pd.DataFrame:
    """Under "null"; whatever is asked for, the same rows."""
    options = {"on_error": "null", "rows_per_partition": per, **options}
    frame = di.read_webdataset(path, **options)
    made = frame.compute(scheduler="sync")
    assert len(frame) == len(made)
    pictures = [name for name in made if made[name].dtype == "image[encoded]"]
    for name in pictures:
        alone = frame[name].compute(scheduler="sync")
        assert alone.img.error.equals(made[name].img.error)
        assert alone.isna().equals(made[name].isna())
    return made


def story(made) -> dict:
    """Of each key: whether its picture is there, null, or failed."""
    states = np.where(made.png.notna(), "there", np.where(made.png.img.failed, "failed", "null"))
    assert made["__key__"].is_unique
    return dict(zip(made["__key__"], states, strict=True))


# -- where it ends ------------------------------------------------------------------------------
@pytest.fixture(scope="module", params=[*FORMATS, "mtime"])
def whole(request) -> tuple[bytes, list[tuple[int, int, str]]]:
    """An archive, and of each member where its headers begin, its data ends, its key."""
    entries = []
    for i, key in enumerate(KEYS):
        # a time with a fraction makes a pax header of each member, as webdataset's own writer does
        extra = {"mtime": 1.5} if request.param == "mtime" else {}
        entries += [entry(f"{key}.cls", b"%d" % i, **extra), entry(f"{key}.png", png(i), **extra)]
    data = packed(entries, FORMATS.get(request.param, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        spans = [(m.offset, m.offset_data + m.size, m.name.split(".")[0]) for m in tar]
    return data, spans


@pytest.mark.sampled(one_in=3)
def test_cut_anywhere(tmp_path, whole):
    data, spans = whole
    path = tmp_path / "cut.tar"
    for at in range(519, len(data) - 1500, 397):
        path.write_bytes(data[:at])
        there = [key for _, end, key in spans if end <= at]
        complete = [key for key in KEYS if there.count(key) == 2]
        broken = next((span for span in spans if span[0] < at < span[1]), None)
        found = read(path, extensions=["cls", "png"])
        assert found["__key__"].tolist()[: len(complete)] == complete
        assert found.png.notna().tolist()[: len(complete)] == [True] * len(complete)
        if broken is None:  # between two members
            assert not found.png.img.failed.any()
            continue
        assert found.png.img.failed.tolist() == [False] * (len(found) - 1) + [True]
        assert found.cls.isna().tolist() == [False] * (len(found) - 1) + [True]
        if at - broken[0] >= 1024 or data[broken[0] : broken[0] + 1] == b"a":
            assert found["__key__"].tolist()[len(complete) :] == [broken[2]]
        with pytest.raises(di.ImageError, match=r"cut\.tar"):
            di.read_webdataset(path, extensions=["cls"]).compute(scheduler="sync")


@pytest.mark.sampled(one_in=4)
@pytest.mark.parametrize("per", [None, 1, 3])
def test_cut_is_the_same_in_pieces(tmp_path, whole, per):
    data, spans = whole
    for at in (spans[4][0] + 300, spans[4][1] - 1, spans[5][0] + 30, spans[5][1] - 9):
        (tmp_path / "x.tar").write_bytes(data[:at])
        (tmp_path / "x.tgz").write_bytes(gzip.compress(data[:at]))
        one, other = (
            read(tmp_path / name, per, extensions=["cls", "png"]) for name in ("x.tar", "x.tgz")
        )
        assert one["__key__"].equals(other["__key__"])
        assert [*story(one).values()] == [*story(other).values()]
        assert one.png.img.failed.tolist() == [False] * (len(one) - 1) + [True]
        assert one.png.notna().tolist()[:2] == [True, True]


def test_a_gzip_file_cut_anywhere(tmp_path):
    rng = np.random.default_rng(0)
    entries = []
    for i in range(12):
        entries += [entry(f"{i}.png", png(i)), entry(f"{i}.bin", rng.bytes(900))]
    full = gzip.compress(packed(entries))
    for at in range(30, len(full) - 9, 997):
        (tmp_path / "x.tar.gz").write_bytes(full[:at])
        found = read(tmp_path / "x.tar.gz", extensions=["png", "bin"])
        assert found.png.img.failed.tolist() == [False] * (len(found) - 1) + [True]
        assert found.bin.isna().tolist() == [False] * (len(found) - 1) + [True]
        assert found.png.img.error.tolist()[-1].startswith("read: BrokenTarError")


# -- headers that lie ---------------------------------------------------------------------------
def patched(data, name, at, new) -> bytes:
    """The header of a member changed, its checksum right again."""
    start = data.index(name)
    header = bytearray(data[start : start + 512])
    header[at : at + len(new)] = new
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:start] + bytes(header) + data[start + 512 :]


SIZES = {
    "octal": b"77777777777\0",
    "a little more": b"00000077777\0",
    "base 256": b"\x80" + bytes(3) + b"\x7f" + bytes(7),
    "past 64 bits": b"\x80" + b"\xff" * 11,
    "negative": b"\xff" * 11 + b"\x00",
    "very negative": b"\xff" + bytes(11),
    "no number": b"not a size!\0",
}


@pytest.mark.sampled(one_in=9)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("member", ["a/2.cls", "a/2.png", "x"])
@pytest.mark.parametrize("per", [None, 2])
def test_a_size_that_lies(tmp_path, size, member, per):
    entries = []
    for i, key in enumerate(KEYS):
        extra = {"pax_headers": {"comment": "x" * 9}} if (member, i) == ("x", 2) else {}
        entries += [entry(f"{key}.cls", b"%d" % i, **extra), entry(f"{key}.png", png(i))]
    name = b"././@PaxHeader" if member == "x" else member.encode()
    (tmp_path / "x.tar").write_bytes(patched(packed(entries), name, 124, SIZES[size]))
    start = time.monotonic()
    found = read(tmp_path / "x.tar", per, extensions=["cls", "png"])
    assert time.monotonic() - start < 60  # not for ever
    assert found.png.img.failed.tolist() == [False, False, True]
    assert found["__key__"].tolist()[:2] == KEYS[:2]
    if member != "x":
        assert found["__key__"].tolist()[2] == KEYS[2]


def test_damage_in_the_middle(tmp_path):
    data = tar_bytes([(f"{k}.{e}", d) for k in KEYS for e, d in (("cls", b"1"), ("png", png()))])
    for name, want in (
        (b"a/2.cls", {"a/0": "there", "a/1": "there", "a/2": "failed"}),  # (the key is left)
        (b"a/2.png", {"a/0": "there", "a/1": "there", "a/2": "failed"}),  # (so is its sample's)
    ):
        start = data.index(name)
        (tmp_path / "x.tar").write_bytes(
            data[: start + 148] + b"9" * 6 + data[start + 154 :]  # its checksum
        )
        assert story(read(tmp_path / "x.tar")) == want
        (tmp_path / "x.tar").write_bytes(data[:start] + b"\xff" * 512 + data[start + 512 :])
        found = read(tmp_path / "x.tar")
        assert found["__key__"].isna().tolist() == [False] * (len(found) - 1) + [True]
        assert found.png.img.failed.tolist() == [False] * (len(found) - 1) + [True]
    # one block of zeros marks no end
    (tmp_path / "x.tar").write_bytes(data[:start] + bytes(512) + data[start + 512 :])
    assert read(tmp_path / "x.tar").png.img.failed.sum() == 1


def test_many_long_names_in_a_row(tmp_path):
    one = packed([entry("d" * 200 + ".txt", b"x")], tarfile.GNU_FORMAT)[:1024]
    (tmp_path / "x.tar").write_bytes(tar_bytes([("0.png", png())])[:1024] + one * 3000)
    assert read(tmp_path / "x.tar").png.img.failed.tolist() == [False, True]


def test_archives_one_after_another(tmp_path):
    one, two = (tar_bytes([(f"{i}.png", png(i))]) for i in range(2))
    (tmp_path / "x.tar").write_bytes(one + two)
    for per in (None, 1):
        assert story(read(tmp_path / "x.tar", per)) == {"0": "there", "1": "there"}
    (tmp_path / "x.tar").write_bytes(one + b"whatever stands behind the end" * 99)
    assert story(read(tmp_path / "x.tar")) == {"0": "there"}


# -- members that are no files ------------------------------------------------------------------
LINKED = [
    entry("d/", type=tarfile.DIRTYPE),
    entry("d/0.png", png(7)),
    entry("d/1.png", type=tarfile.LNKTYPE, linkname="d/0.png"),
    entry("d/2.png", type=tarfile.SYMTYPE, linkname="0.png"),
    entry("e/3.png", type=tarfile.SYMTYPE, linkname="../d/2.png"),
    entry("e/4.png", type=tarfile.SYMTYPE, linkname="../../d/0.png"),
    entry("e/5.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    entry("e/6.png", type=tarfile.LNKTYPE, linkname="nowhere.png"),
    entry("e/7.png", type=tarfile.SYMTYPE, linkname="8.png"),
    entry("e/8.png", type=tarfile.SYMTYPE, linkname="7.png"),
    entry("e/9.png", type=tarfile.SYMTYPE, linkname="last.png"),
    entry("f/fifo.png", type=tarfile.FIFOTYPE),
    entry("f/disk.png", type=tarfile.BLKTYPE, devmajor=8),
    entry("f/odd.png", b"data", type=b"Z"),
    entry("e/last.png", png(9)),
]


@pytest.mark.parametrize("per", [None, 1, 4])
@pytest.mark.parametrize("form", ["pax", "gnu"])
def test_links_and_devices(tmp_path, per, form):
    (tmp_path / "x.tar").write_bytes(packed(LINKED, FORMATS[form]))
    found = read(tmp_path / "x.tar", per).set_index("__key__").png
    assert found.index.tolist() == [m.name.removesuffix(".png") for m, _ in LINKED[1:]]
    there = found[found.notna()]
    assert there.index.tolist() == ["d/0", "d/1", "d/2", "e/3", "e/9", "e/last"]
    assert [cell.to_bytes() for cell in there] == [png(7)] * 4 + [png(9)] * 2
    why = found.img.error
    assert why[["e/4", "e/5", "e/6", "e/7", "e/8"]].str.contains("is no file in the archive").all()
    assert why["e/5"].startswith("read: ValueError: e/5.png is a link to '/etc/passwd'")
    assert "FIFO" in why["f/fifo"]
    assert "device" in why["f/disk"]
    assert "unknown type" in why["f/odd"]
    with pytest.raises(di.ImageError, match="is a link to"):
        di.read_webdataset(tmp_path / "x.tar").png.compute(scheduler="sync")


def test_a_link_in_a_damaged_archive(tmp_path):
    entries = [
        entry("0.png", png(3)),
        entry("1.png", type=tarfile.LNKTYPE, linkname="0.png"),
        entry("2.png", png(4)),
    ]
    data = packed(entries)
    (tmp_path / "x.tar").write_bytes(data[: data.index(b"2.png") + 530])
    assert story(read(tmp_path / "x.tar")) == {"0": "there", "1": "there", "2": "failed"}


def test_sparse_files(tmp_path):
    """As GNU tar 1.35 writes them (--sparse-version=1.0): the map stands before the data."""
    content = bytearray(20_000)
    content[:300], content[10_000:10_400] = b"a" * 300, b"b" * 400

    def sparse(pieces, size):
        table = f"{len(pieces)}\n" + "".join(f"{at}\n{n}\n" for at, n in pieces)
        stored = table.encode().ljust(512, b"\0") + b"a" * 300 + b"b" * 400
        headers = {"major": "1", "minor": "0", "name": "1.bin", "realsize": str(size)}
        pax = {f"GNU.sparse.{key}": value for key, value in headers.items()}
        return entry("GNUSparseFile.0/1.bin", stored, pax_headers=pax)

    def made(member) -> pd.DataFrame:
        members = [entry("0.png", png()), member, entry("2.png", png())]
        (tmp_path / "x.tar").write_bytes(packed(members))
        return read(tmp_path / "x.tar", extensions=["png", "bin"])

    found = made(sparse([(0, 300), (10_000, 400)], 20_000))
    assert found["__key__"].tolist() == ["0", "1", "2"]
    assert found.bin[1] == bytes(content)
    for lie in (
        sparse([(0, 300), (10_000, 400)], 2**50),
        sparse([(0, 300), (-5, 400)], 20_000),
        sparse([(0, 300), (19_999, 400)], 20_000),
    ):
        with pytest.warns(UserWarning, match=r"1\.bin"):
            found = made(lie)
        assert found.bin.isna().all()
        assert story(found) == {"0": "there", "1": "null", "2": "there"}


# -- names --------------------------------------------------------------------------------------
def test_what_systems_leave_in_archives(tmp_path):
    junk = ["._0.png", "a/._0.png", ".DS_Store", "a/.DS_Store", "__MACOSX/a/._0.png", "a/Thumbs.db"]
    junk += ["PaxHeader/0.png", "a/PaxHeaders.123/0.png", "a/desktop.ini", "__meta__/x.json"]
    members = [("./0.cls", b"1")]
    for name in junk:
        members += [(name, b"\0\5\x16\7junk"), (f"./{name}", b"junk")]
    members += [("./0.png", png()), ("./v1.0/1.png", png()), ("..a/1.png", png())]
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    found = read(tmp_path / "x.tar")
    assert found.columns.tolist() == ["__key__", "cls", "png"]
    assert story(found) == {"./0": "there", "./v1.0/1": "there"}


def test_names_that_leave_the_archive(tmp_path):
    names = ["/data/0.png", "../1.png", "a/../../2.png", "b/3.png", "/../4.png"]
    (tmp_path / "x.tar").write_bytes(tar_bytes([(name, png()) for name in names]))
    found = read(tmp_path / "x.tar")
    assert [*story(found).values()] == ["there", "failed", "failed", "there", "failed"]
    assert found["__key__"].tolist()[0] == "data/0"
    assert found.png.img.error.dropna().str.contains("leaves the archive").all()
    result = di.read_webdataset(tmp_path / "x.tar", on_error="null").img.write_webdataset(
        tmp_path / "out"
    )
    assert (result.rows, result.failed) == (5, 3)


def test_names_in_no_known_encoding(tmp_path):
    for form in ("pax", "gnu"):
        member, data = entry("caf\udce9.png", png())
        raw = io.BytesIO()
        with tarfile.open(
            fileobj=raw, mode="w", format=FORMATS[form], errors="surrogateescape"
        ) as tar:
            tar.addfile(member, io.BytesIO(data))
        (tmp_path / "x.tar").write_bytes(raw.getvalue())
        assert story(read(tmp_path / "x.tar")) == {"caf\\xe9": "there"}


def test_what_is_there_twice(tmp_path):
    members = [("0.png", png()), ("0.cls", b"1"), ("0.cls", b"2"), ("1.png", png()), ("1.PNG", b"")]
    members += [("0.png", png())]  # not next to the others: a sample of its own
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    with pytest.warns(UserWarning, match=r"0\.cls is there twice"):
        found = read(tmp_path / "x.tar")
    assert found["__key__"].tolist() == ["0", "1", "0"]
    assert found.cls.isna().all()
    assert found.png.img.failed.tolist() == [False, True, False]


# -- values -------------------------------------------------------------------------------------
def npy(array) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


BAD = {
    "json": [b"{broken", b"", b"[" * 100_000, b'{"a": }', b"\xff"],
    "cls": [b"x", b"", b"1.5", b"9" * 30, b"9" * 5000],
    "txt": [b"\xff\xfe\xfa"],
    "npy": [
        b"",
        b"no array",
        npy(np.arange(5))[:-3],
        npy(np.arange(5)).replace(b"(5,), }", b"(5000000000000,), }"),
        npy(np.arange(5)).replace(b"(5,)", b"(5,("),
        npy(np.array(["text"])),
        npy(np.array([1 + 2j])),
        npy(np.zeros(2, [("a", int)])),
        npy(np.array(["2024"], "M8[D]")),
    ],
}


@pytest.mark.parametrize("extension", BAD)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_bad_value_costs_its_cell(tmp_path, extension):
    good = {"json": b"{}", "cls": b"3", "txt": b"x", "npy": npy(np.arange(2))}[extension]
    members = [("good.png", png()), (f"good.{extension}", good)]
    for number, value in enumerate(BAD[extension]):
        members += [(f"{number}.png", png(number)), (f"{number}.{extension}", value)]
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    bad = len(BAD[extension])
    frame = di.read_webdataset(tmp_path / "x.tar", on_error="null")
    with di.stats() as told:
        made = frame.compute(scheduler="sync")
    assert made[extension].isna().tolist() == [False] + [True] * bad
    assert made.png.notna().all()
    assert frame.png.img.check().compute(scheduler="sync").isna().all()
    errors = frame.img.errors().compute(scheduler="sync")
    if extension == "npy":  # a cell that holds its reason
        assert errors["column"].tolist() == ["npy"] * bad
        assert errors["error"].str.contains(r"\d\.npy does not hold what its name says").all()
        assert frame.img.write_parquet(tmp_path / "out").failed == bad
    else:
        assert errors.empty
        assert told.to_frame().errors["read"] == bad
        assert frame.img.write_parquet(tmp_path / "out").failed == 0
    strict = di.read_webdataset(tmp_path / "x.tar")
    assert strict.png.compute(scheduler="sync").notna().all()
    with pytest.raises(di.ImageError, match=re.escape("x.tar#0). Set on_error")) as caught:
        strict[extension].compute(scheduler="sync")
    assert f"0.{extension} does not hold" in str(caught.value)


def test_one_warning_for_a_file(tmp_path):
    members = [(f"{i}.{e}", d) for i in range(9) for e, d in (("png", png()), ("json", b"{"))]
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    frame = di.read_webdataset(tmp_path / "x.tar", on_error="null")
    with pytest.warns(
        UserWarning, match=r"x\.tar#0: .*0\.json.*null in 'json' \(and 8 more"
    ) as told:
        frame.compute(scheduler="sync")
    assert len([one for one in told if issubclass(one.category, UserWarning)]) == 1
