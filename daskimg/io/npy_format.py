"""Rows of .npy and .npz files by their headers (`numpy.lib.format`), without loading the rest."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

__all__ = ["Header", "RefusedError", "read_headers", "read_member"]

ZIP = b"PK"


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
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

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
    try:
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        else:  # 3.0 differs in how field names are spelt
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    except tokenize.TokenError as error:
        raise ValueError(f"the header is damaged: {error.args[0]}") from None
    if version == (3, 0) and dtype.names:
        dtype.names = tuple(name.encode("latin1").decode() for name in dtype.names)
    called = f"the array {key!r}" if key else "the array"
    if dtype.hasobject:
        raise RefusedError(
            f"{called} holds pickled Python objects, which are never loaded: save it with a "
            "plain dtype, such as arr.astype(str) or numbers"
        )
    if not shape:
        raise RefusedError(f"{called} is one value, without rows: leave it out by column_names=")
    return Header(shape, dtype, fortran and len(shape) > 1, file.tell() - start)


def read_headers(file: BinaryIO, keys: Sequence[str] | None = None) -> dict[str, Header]:
    """The headers of a file's arrays (of a .npz file those of `keys`); "" is that of a .npy file.

    Raises
    ------
    RefusedError
        For a key that is not there, and arrays that are no rows.
    ValueError
        When the file is damaged.
    """
    start = file.read(len(ZIP))
    file.seek(0)
    if start != ZIP:
        return {"": read_header(file)}
    found = {}
    try:
        with zipfile.ZipFile(file) as members:
            known = [n.removesuffix(".npy") for n in members.namelist() if n.endswith(".npy")]
            for key in known if keys is None else keys:
                if key not in known:
                    raise RefusedError(f"column_names: no key {key!r}; there are {known}")
                with members.open(f"{key}.npy") as member:
                    found[key] = read_header(cast(BinaryIO, member), key)
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
