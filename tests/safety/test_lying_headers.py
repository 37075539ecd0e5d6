"""Headers that announce more than there is: an error or a failed row, promptly, and no memory."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile

import dask
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import daskimg as di
from daskimg.errors import TooManyPixelsError
from daskimg.io.webdataset import samples as tar_samples
from daskimg.kernels import codec, headers
from daskimg.kernels.codec import encode
from tests.safety.bombs import png, png_chunk, png_text

MOST = 64 * 2**20  # bytes: none of these files has a hundred kilobytes


@pytest.fixture(autouse=True)
def little_memory():
    tracemalloc.start()
    yield
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < MOST


def npy(shape, dtype="|u1", data: bytes = bytes(100), fortran: bool = False) -> bytes:
    """A .npy file whose header says what one likes."""
    text = repr({"descr": dtype, "fortran_order": fortran, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npz(member: bytes, method=zipfile.ZIP_STORED, said: int | None = None) -> bytes:
    """A .npz file of one member, whose directory says another size."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        file.writestr("image.npy", member)
    data = bytearray(out.getvalue())
    if said is not None:
        at = data.index(b"PK\x01\x02")
        data[at + 24 : at + 28] = struct.pack("<L", said)
        data[22:26] = struct.pack("<L", said)
    return bytes(data)


BILLION = 10**9
LIES = {
    "rows.npy": npy((BILLION, 28, 28)),
    "bytes.npy": npy((BILLION,) * 3),
    "overflow.npy": npy((2**62, 8, 8, 3)),
    "overflow_row.npy": npy((4, 2**33, 2**33, 3)),
    "no_bytes.npy": npy((BILLION, 0, 3)),
    "fortran.npy": npy((BILLION, 28, 28), fortran=True),
    "text.npy": npy((3, 2, 2), "<U2000000000"),
    "void.npy": npy((BILLION,), "|V0"),
    "below_zero.npy": npy((-3, 4, 4)),
    "wide.npy": npy((0, BILLION, BILLION), data=b""),
    "stored.npz": npz(npy((BILLION, 28, 28))),
    "packed.npz": npz(npy((BILLION, 28, 28)), zipfile.ZIP_DEFLATED),
    "numbers.npz": npz(npy((BILLION,), "<f8")),
    "said.npz": npz(npy((BILLION, 1, 1)), zipfile.ZIP_DEFLATED, said=2**32 - 2),
    "said_stored.npz": npz(npy((BILLION, 1, 1)), said=BILLION + 64),
    "short.npz": npz(npy((1000, 28, 28)), zipfile.ZIP_DEFLATED),
    "squeezed.npz": npz(npy((10**8,), data=b"") + bytes(10**6), zipfile.ZIP_BZIP2),
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", LIES)
def test_arrays(tmp_path, name):
    (tmp_path / name).write_bytes(LIES[name])
    with pytest.raises(ValueError, match=r"announce|header|damaged|ends|packed|no column|descr"):
        di.read_numpy(str(tmp_path / name)).compute()
    good = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    if name.endswith("z"):
        np.savez(tmp_path / "a.npz", image=good)
    else:
        np.save(tmp_path / "a.npy", good)
    df = di.read_numpy(str(tmp_path), on_error="null")
    found = df.compute()
    assert len(df) == len(found) == 4  # three, and one that is the file
    assert found.image.isna().tolist() == [False, False, False, True]
    assert found.image.img.error.iloc[3].startswith("read: ")


def test_arrays_that_are_honest(tmp_path):
    """Empty ones, and what packs as tightly as can be."""
    np.save(tmp_path / "a.npy", np.zeros((0, 224, 224, 3), np.uint8))
    assert di.read_numpy(str(tmp_path / "a.npy")).dtypes.image == "image[uint8, 224x224x3]"
    np.savez_compressed(tmp_path / "b.npz", image=np.zeros((300, 100, 100), np.uint8))
    assert (tmp_path / "b.npz").stat().st_size < 4000
    df = di.read_numpy(str(tmp_path / "b.npz"))
    assert len(df) == 300
    assert df.image.img.max().compute().tolist() == [0] * 300


def test_arrays_without_end(tmp_path):
    one = npy((2, 4, 4))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        for number in range(2000):
            file.writestr(f"{number}.npy", one)
    with pytest.raises(ValueError, match=r"2,000 arrays.*column_names="):
        di.read_numpy(str(tmp_path / "a.npz"))
    df = di.read_numpy(str(tmp_path / "a.npz"), column_names=["7", "1999"])
    assert df.compute().shape == (2, 2)


def test_records(tmp_path):
    """A length with the right checksum, of more bytes than there are."""
    pytest.importorskip("google_crc32c")
    from daskimg.io.tfrecord.example import masked_crc

    for number, length in enumerate([2**40, 2**62, 2**64 - 1]):
        head = struct.pack("<Q", length)
        lie = head + struct.pack("<I", masked_crc(head)) + bytes(50)
        (tmp_path / f"{number}.tfrecord").write_bytes(lie)
    df = di.read_tfrecords(str(tmp_path), features={"image": "image"}, on_error="null")
    assert df.image.img.error.compute().str.contains("ends in record 0").tolist() == [True] * 3
    counted = di.read_tfrecords(
        str(tmp_path), features={"image": "image"}, on_error="null", records_per_partition=2
    )
    assert len(counted.compute()) == 3


def test_members_of_tars(tmp_path):
    member = tarfile.TarInfo("a.png")
    member.size = 2**33 - 1
    (tmp_path / "0.tar").write_bytes(member.tobuf() + bytes(2048))
    array = tarfile.TarInfo("a.npy")
    lie = npy((10**15, 3), "<f8")
    array.size = len(lie)
    with tarfile.open(tmp_path / "1.tar", "w") as file:
        file.addfile(array, io.BytesIO(lie))
    df = di.read_webdataset(str(tmp_path), extensions=["png", "npy"], on_error="null")
    found = df.compute()
    assert len(found) == 2
    assert found.img.errors().error.str.contains("ends|announce").any()
    assert found["npy"].isna().all()
    assert found["png"].isna().all()


def test_packed_tars_that_never_end(tmp_path, monkeypatch):
    """What was unpacked before it became too much is there."""
    monkeypatch.setattr(tar_samples, "UNPACKED", 2**20)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as file:
        for name, data in (("a.png", png(4, 4)), ("b.png", bytes(2**24)), ("c.png", png(4, 4))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    (tmp_path / "0.tar.gz").write_bytes(gzip.compress(plain.getvalue()))
    df = di.read_webdataset(str(tmp_path), on_error="null")
    found = df.compute()
    assert found["__key__"].tolist() == ["a", "b"]
    assert found.png.img.error.isna().tolist() == [True, False]
    assert "unpack to more than" in found.png.img.error.iloc[1]


# -- pictures -------------------------------------------------------------------------------------
def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<L", len(body)) + body + bytes(len(body) % 2)


def canvas(width: int, height: int) -> bytes:
    """An animated WebP: a frame of 16 x 16 on a canvas of any size."""
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "WEBP")
    size = [struct.pack("<L", n - 1)[:3] for n in (width, height)]
    frame = bytes(6) + struct.pack("<L", 15)[:3] * 2 + b"\x64\0\0\0" + out.getvalue()[12:]
    body = b"WEBP" + chunk(b"VP8X", b"\x02\0\0\0" + b"".join(size))
    body += chunk(b"ANIM", bytes(6)) + chunk(b"ANMF", frame)
    return b"RIFF" + struct.pack("<L", len(body)) + body


def scans(side: int, more: int, mode: str = "L") -> bytes:
    """A progressive JPEG whose last scan is there many times."""
    out = io.BytesIO()
    Image.new(mode, (side, side), 90).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data[data.rindex(b"\xff\xc4") : -2]
    return data[:-2] + last * more + b"\xff\xd9"


SLOW = {
    "wide.webp": canvas(7_143_456, 24),
    "tall.webp": canvas(24, 7_143_456),
    "side.webp": canvas(16_384, 100),
    "canvas.webp": canvas(13_000, 13_000),
    "empty.png": png(13_000, 13_000, rows=0),
    "digits.ppm": b"P5\n13000 13000\n255\n" + bytes(100),
    "scans.jpg": scans(64, 500),
    "scans_cmyk.jpg": scans(64, 500, "CMYK"),
}


@pytest.mark.sampled(one_in=5)
@pytest.mark.parametrize(
    "name, processes", [*((name, False) for name in SLOW), ("wide.webp", True), ("scans.jpg", True)]
)
def test_pictures_that_take_seconds_a_kilobyte(tmp_path, name, processes):
    (tmp_path / name).write_bytes(SLOW[name])
    by_header = not name.startswith("scans")
    with dask.config.set({"daskimg.decode-processes": processes}):
        df = di.read_images(tmp_path, on_error="null")
        lazy = df.assign(why=df.image.img.check(), width=df.image.img.width).compute()
        eager = di.images(df.path.compute(), on_error="null").img
        held = di.images(df.path.compute(), on_error="null").img.read().img
        for why in (lazy.why, eager.check(), held.check(), eager.decode().img.error):
            assert "scans" in why.iloc[0] if not by_header else "TooManyPixels" in why.iloc[0]
        for width in (lazy.width, eager.width, held.width):
            assert width.isna().tolist() == [by_header]
        result = df.img.write_images(str(tmp_path / "out"), file_format="bmp")
        assert result.failed == 1


def test_limits_that_no_real_picture_meets():
    for mode, side, kind, how in (
        ("1", 9000, "TIFF", {"compression": "group4"}),  # a blank page at 1,000 dpi
        ("1", 4500, "PNG", {}),
        ("L", 4200, "WEBP", {"lossless": True}),
    ):
        out = io.BytesIO()
        Image.new(mode, (side, side), 1).save(out, kind, **how)
        assert headers.read_header(out.getvalue())[:2] == (side, side)
    assert codec.decode(scans(64, 40)).shape == (64, 64)
    assert headers.read_header(png(13_000, 13_000, rows=0), max_pixels=None).width == 13_000
    with pytest.raises(TooManyPixelsError, match="pixels in a file of"):
        headers.read_header(png(13_000, 13_000, rows=0))


def test_sides_that_no_picture_has(tmp_path):
    """Ten million rows of a byte cost what ten million rows cost."""
    for number, size in enumerate([(10**7, 1), (1, 10**7)]):
        (tmp_path / f"{number}.png").write_bytes(png(*size, rows=1))
        (tmp_path / f"{number}.pgm").write_bytes(b"P5\n%d %d\n255\n" % size + bytes(10**7))
    df = di.read_images(tmp_path, on_error="null")
    frame = df.assign(why=df.image.img.check(), width=df.image.img.width).compute()
    assert frame.why.str.contains("a side of a P.. has at most 1,000,000").tolist() == [True] * 4
    assert frame.width.isna().all()


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name, body", [(b"abCd", b""), (b"tEXt", b"a\0b"), (b"IDAT", b"")])
@pytest.mark.parametrize("behind", [False, True])
def test_chunks_without_end(tmp_path, name, body, behind):
    data = png(4, 4, rows=4)
    at = data.index(b"IEND" if behind else b"IDAT") - 4
    first = png_chunk(b"tEXt", b"a\0" + bytes(2**16))  # what is read of a header ends in it
    few, many = (data[:at] + first + png_chunk(name, body) * n + data[at:] for n in (900, 50_000))
    (tmp_path / "few.png").write_bytes(few)
    (tmp_path / "many.png").write_bytes(many)
    df = di.read_images(tmp_path, on_error="null")
    frame = df.assign(why=df.image.img.check(), side=df.image.img.decode().img.width).compute()
    assert frame.why.isna().tolist() == [True, False]
    assert frame.side.isna().tolist() == [False, True]
    assert "more than 1,000 chunks" in frame.why.iloc[1]
    early = not behind and name != b"IDAT"
    assert df.image.img.width.compute().isna().tolist() == [False, early]


def test_texts_that_unpack_to_gigabytes(tmp_path):
    """zTXt and iCCP chunks: refused, or left alone."""
    (tmp_path / "a.png").write_bytes(png_text(2**26))
    df = di.read_images(tmp_path, on_error="null")
    frame = df.assign(why=df.image.img.check(), width=df.image.img.width).compute()
    assert len(frame) == 1


# -- Parquet --------------------------------------------------------------------------------------
def footer_of(file: bytes, change) -> bytes:
    """A Parquet file with another footer."""
    size = struct.unpack("<L", file[-8:-4])[0]
    footer = change(file[-8 - size : -8])
    return file[: -8 - size] + footer + struct.pack("<L", len(footer)) + b"PAR1"


def varint(number: int) -> bytes:
    """A number as Thrift's compact protocol writes it."""
    number, out = number * 2, b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


@pytest.mark.parametrize("rows", [BILLION, 10**12, 10**18])
def test_rows_of_parquet(tmp_path, rows):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    some = {"bytes": encode(np.zeros((2, 2), np.uint8), "png"), "path": None}
    for name, n in (("a", 3), ("b", 12_345)):
        table = pa.table({"image": pa.array([some] * n, kind), "n": range(n)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    file = tmp_path / "b.parquet"
    data = file.read_bytes()
    file.write_bytes(footer_of(data, lambda f: f.replace(varint(12_345), varint(rows))))
    with pytest.raises(ValueError, match="announces"):
        di.read_parquet(str(tmp_path))
    found = di.read_parquet(str(tmp_path), on_error="null").compute()
    assert found.image.isna().tolist() == [False, False, False, True]
    assert "announces" in found.image.img.error.iloc[3]
    # one number of several
    file.write_bytes(footer_of(data, lambda f: f.replace(varint(12_345), varint(rows), 1)))
    assert len(di.read_parquet(str(tmp_path), on_error="null").compute()) <= 3 + 12_345


def test_rows_of_parquet_that_repeat(tmp_path):
    """What packs to nothing is no lie."""
    table = pa.table({"n": pa.array(np.zeros(2_000_000, np.int64)), "m": pa.nulls(2_000_000)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2_000_000)
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    assert len(di.read_parquet(str(tmp_path / "a.parquet"))) == 2_000_000
