"""tf.train.Example and the TFRecord framing, without TensorFlow.

A record is its length (8 bytes, little endian), a masked CRC-32C of the length, the data and a
masked CRC-32C of the data (TensorFlow, ``tensorflow/core/lib/io/record_writer.h``). The messages
are those of ``tensorflow/core/example/{example,feature}.proto``, in a pool of their own, so that
TensorFlow can be imported beside them.
"""

from __future__ import annotations

import functools
import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

__all__ = [
    "Frame",
    "compress",
    "decompressed",
    "example_class",
    "frame_bytes",
    "frames",
    "positions",
    "sniffed",
]

MASK = 0xA282EAD8  # "masked" so that the CRC of data that holds CRCs is no weaker
COMPRESSIONS = (None, "GZIP", "ZLIB")


class Frame(NamedTuple):
    """A record's number and data, or why it has none."""

    number: int
    data: bytes = b""
    error: Exception | None = None


@functools.cache
def _crc() -> Any:
    try:
        import google_crc32c
    except ImportError as error:
        raise ImportError(_needed("google-crc32c")) from error
    return google_crc32c.value


def _needed(package: str) -> str:
    return f"TFRecords need {package}: pip install 'daskimg[tfrecord]'"


def masked_crc(data: bytes) -> int:
    """The checksum that stands in a record."""
    crc = _crc()(data)
    return (((crc >> 15) | (crc << 17)) + MASK) & 0xFFFFFFFF


def frame_bytes(data: bytes) -> bytes:
    """`data` as a record."""
    length = struct.pack("<Q", len(data))
    checks = struct.pack("<I", masked_crc(length)), struct.pack("<I", masked_crc(data))
    return b"".join((length, checks[0], data, checks[1]))


def frames(file: BinaryIO, verify: bool = True, first: int = 0) -> Iterator[Frame]:
    """The records of a file from where it stands.

    A record whose data is damaged is one `Frame` with an error. After a damaged length nothing
    can be found again: the last `Frame` says so.
    """
    number = first
    while True:
        try:
            head = file.read(12)
            if not head:
                return
            if len(head) < 12:
                raise EOFError(f"the file ends in the length of record {number}")
            size, check = struct.unpack("<QI", head)
            if verify and masked_crc(head[:8]) != check:
                raise ValueError(
                    f"the checksum of the length of record {number} does not match: it and what "
                    "follows is lost"
                )
            body = _exactly(file, size + 4, number)
        except (EOFError, ValueError, OSError, zlib.error) as error:
            yield Frame(number, error=error)
            return
        data = body[:-4]
        if verify and masked_crc(data) != struct.unpack("<I", body[-4:])[0]:
            text = f"the checksum of record {number} does not match: its data is damaged"
            yield Frame(number, error=ValueError(text))
        else:
            yield Frame(number, data)
        number += 1


def positions(file: BinaryIO, verify: bool = True) -> list[int]:
    """Where the records of a file that is not compressed begin; their data is skipped.

    The last may be one that `frames` finds damaged.
    """
    at = file.tell()
    end = file.seek(0, io.SEEK_END)
    found = []
    while at < end:
        found.append(at)
        file.seek(at)
        head = file.read(12)
        if len(head) < 12 or (verify and masked_crc(head[:8]) != struct.unpack("<QI", head)[1]):
            break
        at += 12 + struct.unpack("<Q", head[:8])[0] + 4
    return found


def _exactly(file: BinaryIO, size: int, number: int) -> bytes:
    """`size` bytes, without making room for more than there are."""
    blocks, left = [], size
    while left and (block := file.read(min(left, 2**24))):
        blocks.append(block)
        left -= len(block)
    if left:
        raise EOFError(f"the file ends in record {number}, {left:,} bytes before its end")
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


# -- compression of whole files -------------------------------------------------------------------
def decompressed(file: BinaryIO, compression: str | None) -> BinaryIO:
    """The records' own bytes.

    Parameters
    ----------
    file : binary file
    compression : {"infer", "GZIP", "ZLIB", None}
        ``"infer"`` looks at the first bytes.
    """
    if compression == "infer":
        compression = sniffed(file)
    if compression == "GZIP":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if compression == "ZLIB":
        return io.BufferedReader(_Inflating(file))
    return file


def sniffed(file: BinaryIO) -> str | None:
    """How a file is compressed, by its first bytes."""
    start = file.tell()
    head = file.read(12)
    file.seek(start)
    if len(head) == 12 and masked_crc(head[:8]) == struct.unpack("<I", head[8:])[0]:
        return None
    if head[:2] == b"\x1f\x8b":
        return "GZIP"
    zlib_head = len(head) >= 2 and head[0] == 0x78 and (head[0] * 256 + head[1]) % 31 == 0
    return "ZLIB" if zlib_head else None


class _Inflating(io.RawIOBase):
    """What a zlib stream holds."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self._rest, self._stream = file, b"", zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._stream.eof:
            given = self._rest or self._file.read(2**16)
            if not given:
                raise EOFError("the compressed data ends before its end is marked")
            data = self._stream.decompress(given, len(buffer))
            self._rest = self._stream.unconsumed_tail
            if data:
                buffer[: len(data)] = data
                return len(data)
        return 0


def compress(data: bytes, compression: str | None) -> bytes:
    """A whole file's bytes, always the same for the same data."""
    if compression == "GZIP":
        return gzip.compress(data, 6, mtime=0)
    return zlib.compress(data) if compression == "ZLIB" else data


# -- messages -------------------------------------------------------------------------------------
@functools.cache
def example_class() -> Any:
    """The class of tf.train.Example messages."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise ImportError(_needed("protobuf")) from error
    file = descriptor_pb2.FileDescriptorProto(
        name="daskimg/example.proto", package="tensorflow", syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name: str, parent: Any = file.message_type) -> Any:
        made = parent.add()
        made.name = name
        return made

    def field(owner: Any, name: str, number: int, kind: Any, repeated: bool = False) -> Any:
        made = owner.field.add(name=name, number=number)
        made.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
        if isinstance(kind, str):
            made.type, made.type_name = kinds.TYPE_MESSAGE, f".tensorflow.{kind}"
        else:
            made.type = kind
        return made

    field(message("BytesList"), "value", 1, kinds.TYPE_BYTES, repeated=True)
    for name, kind in (("FloatList", kinds.TYPE_FLOAT), ("Int64List", kinds.TYPE_INT64)):
        field(message(name), "value", 1, kind, repeated=True).options.packed = True
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, kind in enumerate(("bytes", "float", "int64"), 1):
        field(feature, f"{kind}_list", number, f"{kind.title()}List").oneof_index = 0
    features = message("Features")
    entry = message("FeatureEntry", features.nested_type)
    entry.options.map_entry = True
    field(entry, "key", 1, kinds.TYPE_STRING)
    field(entry, "value", 2, "Feature")
    field(features, "feature", 1, "Features.FeatureEntry", repeated=True)
    field(message("Example"), "features", 1, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))
