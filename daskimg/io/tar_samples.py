"""Tar files as samples: members whose names agree up to the first dot, as webdataset groups them.

Nothing is extracted to disk, and a shard that is damaged says so instead of just ending.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd

from daskimg.column.dtype import ImageDtype
from daskimg.io.rows import IMAGE, JSON
from daskimg.kernels import headers
from daskimg.ops import BYTES
from daskimg.program import STRING

__all__ = ["KEY", "Sample", "dtype_of", "kind_of", "plain_tar", "samples", "value_of"]

KEY = "__key__"
# webdataset's own rules: the key, the rest; names that are no samples; what members hold
SPLIT = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
META = re.compile(r"__[^/]*__($|/)")
KINDS = {
    **dict.fromkeys(("txt", "text", "transcript"), "text"),
    **dict.fromkeys(("cls", "cls2", "class", "count", "index", "inx", "id"), "integer"),
    **dict.fromkeys(("json", "jsn"), "json"),
    "npy": "array",
    **{extension[1:]: "image" for extension in headers.EXTENSIONS},
}
BLOCK = 512


class Sample(NamedTuple):
    """Members of one key, by extension; where the first begins; what went wrong."""

    key: str
    start: int
    members: dict[str, tarfile.TarInfo]
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


def value_of(tar: tarfile.TarFile, member: tarfile.TarInfo, extension: str, url: str) -> Any:
    """The value of a column in one sample.

    Raises
    ------
    ValueError
        When the member does not hold what its extension says.
    """
    file = tar.extractfile(member)
    data = b"" if file is None else file.read()
    kind = kind_of(extension)
    try:
        if kind == "image":
            return data, f"tar://{member.name}::{url}"
        if kind == "text":
            return data.decode()
        if kind == "integer":
            return int(data)
        if kind == "json":
            return json.loads(data)
        if kind == "array":
            return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False), None
    except (ValueError, OSError) as error:
        raise ValueError(f"{member.name} does not hold what its name says: {error}") from error
    return data


def plain_tar(file: BinaryIO, most: int | None = None) -> tuple[BinaryIO, Exception | None]:
    """A tar file without compression (`most` bytes of it), and what went wrong on the way."""
    head = file.read(2)
    file.seek(0)
    if head != b"\x1f\x8b":
        return file, None
    out, error = io.BytesIO(), None
    try:
        unpacked = gzip.GzipFile(fileobj=file)
        while block := unpacked.read1(2**20):
            out.write(block)
            if most is not None and out.tell() >= most:
                break
    except (EOFError, OSError, zlib.error) as problem:
        error = problem
    out.seek(0)
    return out, error


def samples(
    file: BinaryIO, problem: Exception | None = None
) -> Iterator[tuple[tarfile.TarFile | None, Sample]]:
    """The samples of a plain tar file.

    The last one has an `error` where the file is damaged: what follows cannot be found.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115  (it lives as long as its file)
    except tarfile.ReadError as error:
        yield None, Sample("", 0, {}, problem or error)
        return
    sample: Sample | None = None
    try:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]
            if member.offset_data + member.size > length:
                raise tarfile.ReadError(f"the file ends in {member.name}")
            found = SPLIT.fullmatch(member.name)
            if not member.isreg() or META.match(member.name) or found is None:
                continue
            key, extension = found[1], found[2].lower()
            if sample is None or key != sample.key:
                if sample is not None:
                    yield tar, sample
                sample = Sample(key, member.offset, {})
            if extension in sample.members:
                text = f"{member.name} is there twice"
                sample = sample._replace(error=ValueError(text))
            sample.members[extension] = member
        _check_end(file, tar.offset)  # type: ignore[attr-defined]
        if problem is not None:
            raise problem
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        place = ("", tar.offset, {}) if sample is None else sample[:3]  # type: ignore[attr-defined]
        yield tar, Sample(*place, error)
        return
    if sample is not None:
        yield tar, sample


def _check_end(file: BinaryIO, offset: int) -> None:
    """Refuse anything but zeros, or nothing, after the last member: tarfile takes it for an end."""
    file.seek(offset)
    block = file.read(BLOCK)
    if any(block):
        raise tarfile.ReadError(f"the header at byte {offset:,} is damaged: what follows is lost")
