"""Rows of .npy and .npz files by their headers (`numpy.lib.format`), without loading the rest."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from daskimg.errors import quoted

__all__ = ["Header", "RefusedError", "read_headers", "read_member"]

ZIP = b"PK"
RATIO = 1032  # deflate makes at most so many bytes of one
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ROW = 2**31  # bytes of one, where there is none
ARRAYS = 500  # that become columns unasked


class RefusedError(ValueError):
    """What is asked for is no rows of plain values: an error whatever the policy."""


class Header(NamedTuple):
    """What the header of an array says, and where its values begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """Where the values end."""
        return self.offset + self.shape[0] * self.row_bytes

    def span(self, first: int, rows: int) -> tuple[int, int]:
        """Where these rows begin and end."""
        start = self.offset + first * self.row_bytes
        return start, start + rows * self.row_bytes

    def values(self, data: bytes, rows: int) -> np.ndarray[Any, Any]:
        """Rows of their bytes.

        Raises
        ------
        EOFError
            When there are too few.
        """
        if len(data) < rows * self.row_bytes:
            raise EOFError(
                f"the array ends {rows * self.row_bytes - len(data):,} bytes before its end"
            )
        flat = np.frombuffer(data, self.dtype, rows * self.row_bytes // self.dtype.itemsize)
        return flat.reshape(rows, *self.shape[1:])

    def strided(self, file: Any, first: int, rows: int) -> np.ndarray[Any, Any]:
        """Rows of a file in Fortran order: a path, of which pages are mapped, or all its bytes."""
        if isinstance(file, bytes):
            flat = np.frombuffer(file, self.dtype, offset=self.offset)
            whole: Any = flat[: int(np.prod(self.shape))].reshape(self.shape, order="F")
        else:
            whole = np.memmap(file, self.dtype, "r", self.offset, self.shape, "F")
        return np.array(whole[first : first + rows], order="C")


def read_header(file: BinaryIO, key: str = "") -> Header:
    """The header of an array from where a file stands.

    Raises
    ------
    RefusedError
        For an array of Python objects (unpickling runs code of whoever wrote it), or no rows.
    ValueError
        When it is none.
    """
    start = file.tell()
    version = np.lib.format.read_magic(file)
    shape, fortran, dtype = _described(file, version)
    if version == (3, 0) and dtype.names:
        dtype.names = tuple(name.encode("latin1").decode() for name in dtype.names)
    called = f"the array {quoted(key)}" if key else "the array"
    if min(shape, default=0) < 0:
        raise ValueError(f"the header is damaged: the shape {shape}")
    if dtype.hasobject:
        raise RefusedError(
            f"{called} holds pickled Python objects, which are never loaded: save it with a "
            "plain dtype, such as arr.astype(str) or numbers"
        )
    if not shape:
        raise RefusedError(f"{called} is one value, without rows: leave it out by column_names=")
    return Header(shape, dtype, fortran and len(shape) > 1, file.tell() - start)


def _described(file: BinaryIO, version: tuple[int, int]) -> tuple[Any, bool, np.dtype[Any]]:
    try:
        if version == (1, 0):
            return np.lib.format.read_array_header_1_0(file)  # type: ignore[no-any-return]
        # 3.0 differs in how field names are spelt
        return np.lib.format.read_array_header_2_0(file)  # type: ignore[no-any-return]
    except tokenize.TokenError as error:
        raise ValueError(f"the header is damaged: {error.args[0]}") from None
    except (MemoryError, RecursionError, OverflowError) as error:
        raise ValueError(f"the header is damaged: {type(error).__name__}") from None


def check_header(head: Header, held: int) -> None:
    """Refuse a header that announces more than a file of `held` bytes could be part of.

    A file that ends early has lost rows; what only its header speaks of, a billion of rows in
    three hundred bytes, is no rows. Each counts as a byte at least.

    Raises
    ------
    ValueError
        The text tells both sizes.
    """
    rows = head.shape[0]
    announced = rows * max(1, head.row_bytes) if rows else max(0, head.row_bytes - ROW)
    if announced > RATIO * held:
        raise ValueError(
            f"the header is damaged or lies: it announces {rows:,} rows of {head.row_bytes:,} "
            f"bytes, in a file of {held:,}"
        )


def read_headers(
    file: BinaryIO, keys: Sequence[str] | None = None, held: int | None = None
) -> dict[str, Header]:
    """The headers of a file's arrays (of a .npz file those of `keys`); "" is that of a .npy file.

    `held` are the file's bytes, where they are known.

    Raises
    ------
    RefusedError
        For a key that is not there, and arrays that are no rows.
    ValueError
        When the file is damaged.
    """
    held = file.seek(0, io.SEEK_END) if held is None else held
    file.seek(0)
    start = file.read(len(ZIP))
    file.seek(0)
    if start != ZIP:
        head = read_header(file)
        check_header(head, held)
        return {"": head}
    found = {}
    try:
        with zipfile.ZipFile(file) as members:
            names = members.namelist()
            known = dict.fromkeys(n.removesuffix(".npy") for n in names if n.endswith(".npy"))
            if len(known) > ARRAYS and keys is None:
                raise RefusedError(
                    f"the .npz file holds {len(known):,} arrays; of more than {ARRAYS} choose with "
                    "column_names="
                )
            for key in known if keys is None else keys:
                if key not in known:
                    raise RefusedError(f"column_names: no key {quoted(key)}; there are {[*known]}")
                info = members.getinfo(f"{key}.npy")
                _check_member(info, held)
                with members.open(info) as member:
                    head = read_header(cast(BinaryIO, member), key)
                check_header(head, info.compress_size)
                if head.end > info.file_size:
                    raise EOFError(
                        f"{info.filename} ends {head.end - info.file_size:,} bytes before its end"
                    )
                found[key] = head
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ValueError(f"the .npz file is damaged: {error}") from error
    if not found:
        raise ValueError("the .npz file holds no array")
    rows = {key: head.shape[0] for key, head in found.items()}
    if len({*rows.values()}) > 1:
        told = ", ".join(f"{key} has {number}" for key, number in rows.items())
        raise RefusedError(
            f"the arrays differ in their number of rows ({told}): choose with column_names="
        )
    return found


def _check_member(info: zipfile.ZipInfo, held: int) -> None:
    """Refuse a member that is larger than the file, or than its packed bytes can become."""
    if info.compress_type not in PACKINGS:
        raise ValueError(f"{info.filename} is packed in a way that NumPy does not write")
    most = min(info.compress_size, held) * (RATIO if info.compress_type else 1)
    if info.file_size > most:
        raise ValueError(
            f"the .npz file is damaged or lies: {info.filename} is said to hold "
            f"{info.file_size:,} bytes, in {info.compress_size:,} of a file of {held:,}"
        )


def read_member(file: BinaryIO, key: str, first: int, rows: int) -> np.ndarray[Any, Any]:
    """Rows of one array of a .npz file.

    Raises
    ------
    ValueError
        When the file is damaged.
    """
    try:
        with zipfile.ZipFile(file) as members, members.open(f"{key}.npy") as member:
            head = read_header(cast(BinaryIO, member))
            if head.fortran:
                member.seek(0)
                return head.strided(member.read(), first, rows)
            start, end = head.span(first, rows)
            member.seek(start)
            return head.values(member.read(end - start), rows)
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise ValueError(f"the .npz file is damaged: {error}") from error
