"""Tar files as samples: members whose names agree up to the first dot, as webdataset groups them.

Nothing is extracted to disk, and a shard that is damaged says so instead of just ending.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import tarfile
import tokenize
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd

from daskimg.column.dtype import ImageDtype
from daskimg.column.storage import CODES
from daskimg.engine.ops import BYTES
from daskimg.engine.program import STRING
from daskimg.errors import quoted
from daskimg.io.rows import IMAGE, JSON
from daskimg.io.webdataset.archive import FAULTS, Archive, BrokenTarError
from daskimg.kernels import headers

__all__ = ["KEY", "Sample", "dtype_of", "kind_of", "plain_tar", "samples", "split", "value_of"]

KEY = "__key__"
# webdataset's own rules: the key, the rest; names that are no samples; what members hold
SPLIT = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
# webdataset's own data about a shard; hidden files, as in folders; what systems leave in archives
NO_DATA = re.compile(
    r"^(\./)*__[^/]*__($|/)|(^|/)(\.(?!\.?/)|(__MACOSX|PaxHeaders?(\.\d+)?)/|(Thumbs\.db|desktop\.ini)$)",
    re.IGNORECASE,
)
KINDS = {
    **dict.fromkeys(("txt", "text", "transcript"), "text"),
    **dict.fromkeys(("cls", "cls2", "class", "count", "index", "inx", "id"), "integer"),
    **dict.fromkeys(("json", "jsn"), "json"),
    "npy": "array",
    **{extension[1:]: "image" for extension in headers.EXTENSIONS},
}


GZIP = b"\x1f\x8b"
# What a packed archive may become, in bytes: so many in any case, so many times its own.
UNPACKED, RATIO = 2**28, 16


class Sample(NamedTuple):
    """Members of one key, by extension, or why there is none; where the first begins.

    With an `error` the sample is none: where it is unsafe, or the archive breaks off in it.
    """

    key: str | None
    start: int
    members: dict[str, tarfile.TarInfo | Exception]
    error: Exception | None = None


def kind_of(extension: str) -> str:
    """What a member holds: "image", "text", "integer", "json", "array" or "bytes".

    Examples
    --------
    >>> kind_of("seg.png"), kind_of("cls"), kind_of("bin")
    ('image', 'integer', 'bytes')
    """
    return KINDS.get(extension.rpartition(".")[2], "bytes")


def dtype_of(extension: str, policy: str | None) -> Any:
    """The dtype of a column of such members."""
    return {
        "image": IMAGE.derive("encoded", on_error=policy),
        "text": STRING,
        "integer": pd.Int64Dtype(),
        "json": JSON,
        "array": ImageDtype("pixels", tensor=True, on_error=policy),
        "bytes": BYTES,
    }[kind_of(extension)]


def value_of(
    archive: Archive, member: tarfile.TarInfo | Exception, extension: str, url: str
) -> Any:
    """The value of a column in one sample.

    Raises
    ------
    ValueError
        When the member does not hold what its extension says.
    """
    if isinstance(member, Exception):
        raise member
    data, kind = archive.content(member), kind_of(extension)
    try:
        if kind == "image":
            return data, f"tar://{member.name}::{url}"
        if kind == "text":
            return data.decode()
        if kind == "integer":
            return _integer(data)
        if kind == "json":
            return json.loads(data)
        if kind == "array":
            return _array(data), None
    except (*FAULTS, TypeError, tokenize.TokenError) as error:
        raise ValueError(f"{member.name} does not hold what its name says: {error}") from error
    return data


def _integer(data: bytes) -> int:
    value = int(data)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{value:.3e} has more than 64 bits")
    return value


def _array(data: bytes) -> np.ndarray[Any, Any]:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    header = "read_array_header_1_0" if version == (1, 0) else "read_array_header_2_0"
    shape, _, dtype = getattr(np.lib.format, header)(file)
    size = math.prod(shape) * dtype.itemsize  # before there is room made for it
    if not dtype.hasobject and size > len(data) - file.tell():
        raise EOFError(f"it ends {size + file.tell() - len(data):,} bytes before its end")
    file.seek(0)
    array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.newbyteorder("=") not in CODES:
        raise TypeError(f"an array of {array.dtype}, where numbers or booleans were expected")
    return array


def plain_tar(file: BinaryIO, most: int | None = None) -> tuple[BinaryIO, Exception | None]:
    """A tar file without compression (`most` bytes of it), and what went wrong on the way.

    It is unpacked into memory: what becomes far larger than pictures ever do ends there.
    """
    head = file.read(2)
    packed = head == GZIP
    held = file.seek(0, io.SEEK_END) if packed and most is None else 0
    file.seek(0)
    if not packed:
        return file, None
    limit = max(UNPACKED, RATIO * held)
    out, error = io.BytesIO(), None
    try:
        unpacked = gzip.GzipFile(fileobj=file)
        while block := unpacked.read1(2**20):
            out.write(block)
            if most is not None and out.tell() >= most:
                break
            if out.tell() > limit:
                raise OSError(
                    f"{held:,} bytes unpack to more than {limit:,}, which no pictures do; if you "
                    "trust the file, gunzip it first"
                )
    except (EOFError, OSError, zlib.error) as problem:
        error = problem
    out.seek(0)
    return out, error


def samples(archive: Archive) -> Iterator[Sample]:
    """The samples of a tar file.

    The last one has an `error` where the file is damaged: what follows cannot be found. It is the
    one that breaks off, with its key as far as that is left; those before are whole.
    """
    sample: Sample | None = None
    try:
        for member in archive:
            found = None if member.isdir() else split(member.name)
            if found is None:
                continue
            key, extension = found
            if sample is None or key != sample.key:
                if sample is not None:
                    yield sample
                sample = Sample(key, member.offset, {}, _unsafe(key))
            known = extension in sample.members
            sample.members[extension] = (
                ValueError(f"{member.name} is there twice") if known else member
            )
    except BrokenTarError as error:
        found = split(error.name or "")
        if sample is not None and found is not None and found[0] == sample.key:
            yield sample._replace(error=error)
            return
        if sample is not None:
            yield sample
        yield Sample(found[0] if found else None, error.offset, {}, error)
        return
    if sample is not None:
        yield sample


def split(name: str) -> tuple[str, str] | None:
    """The key and the extension of a member; None for one that is no part of a sample."""
    found = SPLIT.fullmatch(name.lstrip("/"))  # as tar itself takes an absolute name
    return None if found is None or NO_DATA.search(name) else (found[1], found[2].lower())


def _unsafe(key: str) -> Exception | None:
    return (
        ValueError(f"the name {quoted(key)} leaves the archive") if ".." in key.split("/") else None
    )
