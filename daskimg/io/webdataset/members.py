"""The rows of a frame as a tar file of samples."""

from __future__ import annotations

import datetime
import decimal
import io
import json
import os
import pathlib
import tarfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from daskimg.column.dtype import ImageDtype
from daskimg.errors import quoted
from daskimg.io.commit.failures import image_columns
from daskimg.io.commit.names import FileNameError, check_name
from daskimg.io.images.write import FORMATS
from daskimg.io.listing.walk import own_part
from daskimg.io.rows import JSON
from daskimg.io.webdataset.samples import KEY, kind_of, split
from daskimg.kernels import headers

__all__ = ["tar_of"]

# What is told in JSON as its text.
DAYS = (datetime.date, datetime.time, datetime.timedelta, pd.Period, pd.Interval)
TOLD = (*DAYS, decimal.Decimal, complex, pathlib.PurePath, uuid.UUID)

BINARY = ("binary[pyarrow]", "large_binary[pyarrow]")


def tar_of(frame: pd.DataFrame, keys: Sequence[str]) -> bytes:
    """A tar file with a sample for each row, always the same bytes for the same rows.

    Parameters
    ----------
    frame : DataFrame
    keys : sequence of str
        The samples' keys where the frame has no column of them.

    Raises
    ------
    ValueError
        For keys that are not safe or occur twice, values that no member can hold.
    """
    members = Members(frame)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for row, key in enumerate(_keys(frame, keys)):
            for extension, data in sorted(members.of(row).items()):
                _add(tar, f"{key}.{extension}", data)
    return out.getvalue()


def _keys(frame: pd.DataFrame, made: Sequence[str]) -> Sequence[str]:
    if KEY not in frame.columns:
        return made
    keys: list[str] = []
    for key in frame[KEY]:
        if not isinstance(key, str) or split(f"{key}.x") != (key, "x"):
            raise FileNameError(
                f"{KEY} is a name without a dot, and none that readers of tar shards skip; got "
                f"{quoted(key)}"
            )
        keys.append(check_name(key))
    if len({*keys}) < len(keys):
        twice = next(key for n, key in enumerate(keys) if key in keys[:n])
        raise FileNameError(f"two samples of a shard have the {KEY} {quoted(twice)}")
    return keys


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # of no time, owner or group: always the same bytes
    member.size, member.mode = len(data), 0o644
    tar.addfile(member, io.BytesIO(data))


class Members:
    """The members of a sample, by extension."""

    def __init__(self, frame: pd.DataFrame) -> None:
        dtypes = frame.dtypes
        pictures = [name for name in image_columns(frame) if not dtypes[name].tensor]
        self._makers: list[Callable[[int], dict[str, bytes]]] = []
        self._rest: dict[str, list[Any]] = {}
        for name in frame.columns:
            if name in pictures:
                self._makers.append(_picture(name, frame[name].array, len(pictures) == 1))
            elif isinstance(frame.dtypes[name], ImageDtype):
                self._makers.append(_array(name, frame[name].array))
            elif name != KEY:
                self._plain(name, frame[name])

    def _plain(self, name: str, column: pd.Series) -> None:
        values, kind = column.tolist(), kind_of(name)
        if str(column.dtype) in BINARY or any(isinstance(x, bytes | bytearray) for x in values):
            kind = "bytes"
        elif column.dtype == JSON and kind == "json":
            kind = "value"
        elif kind not in ("text", "integer", "json"):
            self._rest[name] = values
            return

        def make(row: int) -> dict[str, bytes]:
            return {} if _is_null(values[row]) else {name: _encoded(values[row], kind, name)}

        self._makers.append(make)

    def of(self, row: int) -> dict[str, bytes]:
        """Those of one row."""
        found: dict[str, bytes] = {}
        for make in self._makers:
            made = make(row)
            if twice := {*map(str.lower, made)} & {*map(str.lower, found)}:
                raise ValueError(
                    f"two columns would be the member {twice.pop()!r} of a sample: rename one"
                )
            found |= made
        if self._rest:
            own = json.loads(found.get("json", b"{}"))
            rest = {name: _simple(values[row]) for name, values in self._rest.items()}
            if not isinstance(own, dict) or own.keys() & rest.keys():
                raise ValueError(
                    f"the columns {[*rest]} go into the member json, where the column json "
                    "already has something else: rename or drop them"
                )
            found["json"] = _json({**own, **rest})
        return found


def _picture(name: str, cells: Any, alone: bool) -> Callable[[int], dict[str, bytes]]:
    paths = [None] * len(cells) if cells.path is None else cells.path.to_pylist()

    def make(row: int) -> dict[str, bytes]:
        if not cells.valid[row]:
            return {}
        data = cells.data.cell(row).tobytes()
        if kind_of(name) == "image":
            return {name: data}
        own = headers.sniff(data)
        if own is None:  # bytes that are no picture stay what their file was called
            ending = os.path.splitext(own_part(paths[row] or ""))[1].lower()[1:] or "bin"
        else:
            ending = FORMATS[own][0][1:] if own in FORMATS else own.lower()
        return {ending if alone else f"{name}.{ending}": data}

    return make


def _array(name: str, cells: Any) -> Callable[[int], dict[str, bytes]]:
    extension = name if kind_of(name) == "array" else f"{name}.npy"

    def make(row: int) -> dict[str, bytes]:
        if not cells.valid[row]:
            return {}
        out = io.BytesIO()
        np.lib.format.write_array(out, cells.data.cell(row), allow_pickle=False)
        return {extension: out.getvalue()}

    return make


def _encoded(value: Any, kind: str, name: str) -> bytes:
    if kind == "bytes":
        return bytes(value)
    if kind == "integer":
        if int(value) != value:
            raise ValueError(f"the column {name!r} is an integer by its name; got {quoted(value)}")
        return str(int(value)).encode()
    if kind == "json" and isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):  # it is text that only begins so
            json.loads(value)
            return value.encode()
    return str(value).encode() if kind == "text" else _json(value)


def _json(value: Any) -> bytes:
    try:
        return json.dumps(_simple(value), ensure_ascii=False, allow_nan=False).encode()
    except ValueError as error:
        text = f"the member json holds no infinity, and {quoted(value)} does: replace it"
        raise ValueError(text) from error


def _simple(value: Any) -> Any:
    """`value` as JSON can tell it: nulls and NaN as null, arrays as lists, times as text."""
    if isinstance(value, np.ndarray | np.generic):
        return _simple(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _simple(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_simple(item) for item in value]
    if _is_null(value):
        return None
    if isinstance(value, TOLD):
        return str(value)
    if not isinstance(value, bool | int | float | str):
        raise TypeError(
            f"the member json holds no {type(value).__name__}, such as {quoted(value)}: pictures "
            "and bytes need a column of their own"
        )
    return value


def _is_null(value: Any) -> bool:
    nothing = value is None or value is pd.NA or value is pd.NaT
    return nothing or (isinstance(value, float) and value != value)
