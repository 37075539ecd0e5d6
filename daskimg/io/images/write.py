"""Pictures as files: `write_images`, and how they are named."""

from __future__ import annotations

import os
import string
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from daskimg import wanted
from daskimg.engine import onepass
from daskimg.engine.ops import build
from daskimg.engine.program import Function, Row
from daskimg.errors import quoted
from daskimg.io.commit.failures import assigned, count, image_column, image_columns
from daskimg.io.commit.names import FileNameError, safe_names
from daskimg.io.commit.run import Run
from daskimg.io.commit.write import Output, as_dask
from daskimg.io.commit.writing import Mode
from daskimg.io.listing.roots import name_below, root_of
from daskimg.io.parquet.failures import write_committed
from daskimg.io.parquet.part import split
from daskimg.kernels import headers
from daskimg.kernels.codec import check_format
from daskimg.words import WRITERS, known_as

__all__ = ["write_images"]

QUALITY = 90
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "WEBP": (".webp",),
    "TIFF": (".tiff", ".tif"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
}
FORMAT_OF = {extension: name for name, known in FORMATS.items() for extension in known}
PUTS = 16  # at once, to a remote store


@known_as(WRITERS)
def write_images(
    df: Any,
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    file_format: str | None = None,
    quality: int = QUALITY,
    filename: str | Callable[[dict[str, Any]], str] | None = None,
    partition_cols: str | Sequence[str] | None = None,
    mode: Mode = "error",
    storage_options: Mapping[str, Any] | None = None,
    compute: bool = True,
    errors: str | os.PathLike[str] | None = None,
) -> Any:
    """Write each picture of a column as a file.

    A picture that was not decoded, in a file of the format that is asked for, is copied as it is,
    EXIF and colour profile included. A null cell is not written; it is counted as failed, or as
    missing.

    Parameters
    ----------
    df : DataFrame
        Dask or pandas.
    path : str or path
        A folder, on any filesystem.
    column : str, optional
        The image column; None: the only one.
    file_format : str, optional
        ``"jpeg"``, ``"png"``, ``"webp"``, ``"tiff"``, ``"bmp"`` or ``"gif"``. None: what the
        extension of `filename` says, else the file's own, else PNG.
    quality : int
        1 to 100, for the formats that lose detail; with another than the default no JPEG or WebP
        is copied.
    filename : str or callable, optional
        A column of names, a template of columns (``"{category}/{id:05d}.jpg"``; ``{index}`` is
        the row's index, unless a column is called so), or a function of the row (a dict of the
        other columns, and the index). None: the
        name of the picture's own file, in its folder below the one that was listed (its whole
        path where none was); pictures without a file are numbered.
    partition_cols : str or list of str, optional
        Columns whose values become ``name=value`` folders.
    mode, storage_options, compute, errors
        As in `write_parquet`.

    Returns
    -------
    WriteResult
        Or, with ``compute=False``, a Dask scalar that computes to one.

    Raises
    ------
    FileExistsError
        In mode "error", when `path` is not empty.
    ValueError
        When a name is not safe, or two rows have the same: nothing is published.

    Examples
    --------
    >>> df = di.read_images(folder).reset_index(drop=True)
    >>> thumbs = df.assign(image=df.image.img.resize(8, 8))
    >>> result = thumbs.img.write_images("thumbs", filename="{index:03d}.png")
    >>> result
    WriteResult(4 written)
    >>> [file.rpartition("/")[2] for file in result.files[:2]]
    ['000.png', '001.png']
    """
    frame = as_dask(df)
    name = image_column(frame, column)
    keys = (partition_cols,) if isinstance(partition_cols, str) else tuple(partition_cols or ())
    plain = [other for other in frame.columns if other not in image_columns(frame)]
    for key in keys:
        if key not in plain:
            raise ValueError(f"partition_cols: no column {key!r} of values; there are {plain}")
    root = root_of(frame, name) if filename is None else None
    naming = Naming.of(filename, plain, frame._meta.index.name, root)
    wanted = _known_format(file_format) or naming.file_format
    cells = frame[name]
    by_row = naming.kind in ("column", "function") and wanted is None
    kind = None if by_row else cells.dtype.cell_dtype
    check_format(wanted or "png", quality, kind, cells.dtype.channels)
    part = Part(name, naming, wanted, None if quality == QUALITY else quality, keys)
    if not (by_row and cells.dtype.holds_pixels):
        cells = cells.img._op("export", wanted, part.lossy(wanted))
    used = plain if errors is not None or naming.kind == "function" else naming.columns + keys
    frame = assigned(frame, {name: cells})[[*dict.fromkeys((*used, name))]]
    out = Output(path, mode, storage_options, compute, errors)
    return write_committed(frame, part, out, "images", columns=[name])


def _known_format(given: str | None) -> str | None:
    if given is None:
        return None
    name = str(given).upper().removeprefix(".")
    name = {"JPG": "JPEG", "TIF": "TIFF"}.get(name, name)
    if name not in FORMATS:
        known = ", ".join(one.lower() for one in FORMATS)
        raise ValueError(f"file_format is one of {known}; got {quoted(given)}")
    return name


@dataclass(frozen=True)
class Naming:
    """What the files of rows are called."""

    kind: str  # "own", "column", "template" or "function"
    value: Any = None
    columns: tuple[str, ...] = ()
    root: str | None = None

    @classmethod
    def of(cls, given: Any, columns: Sequence[str], index: Any, root: str | None) -> Naming:
        """The names that ``filename=`` asks for.

        Raises
        ------
        ValueError
            For a template of columns that are not there.
        """
        if given is None:
            return cls("own", root=root)
        if callable(given):
            return cls("function", Function(given), tuple(columns))
        if not isinstance(given, str):
            raise TypeError(f"filename is a column, a template or a function; got {quoted(given)}")
        if given in columns:
            return cls("column", given, (given,))
        fields = [field for _, field, _, _ in string.Formatter().parse(given) if field is not None]
        unknown = [field for field in fields if field not in (*columns, "index", index)]
        if unknown or not fields:
            what = f"{unknown[0]!r} is no column" if unknown else f"{quoted(given)} is no column"
            raise ValueError(f"filename={quoted(given)}: {what}; there are {list(columns)}")
        used = tuple(field for field in fields if field in columns)
        return cls("template", given, used)

    @property
    def file_format(self) -> str | None:
        """What the extension of a template says."""
        if self.kind != "template":
            return None
        last = list(string.Formatter().parse(self.value))[-1]
        return FORMAT_OF.get(os.path.splitext("x" + last[0])[1].lower()) if not last[1] else None

    def names(self, frame: pd.DataFrame, paths: Sequence[str | None], stem: str) -> list[str]:
        """The name of each row, maybe without extension.

        Raises
        ------
        FileNameError
            For a null, or a value in a template that holds a separator.
        """
        if self.kind == "own":
            return [
                f"{stem}-{row:05d}" if path is None else name_below(path, self.root)
                for row, path in enumerate(paths)
            ]
        if self.kind == "column":
            return [_text(value, self.value) for value in frame[self.value]]
        rows = frame.reset_index(drop=frame.index.name is None or frame.index.name in frame)
        if "index" not in rows:
            rows = rows.assign(index=frame.index)
        records: Any = rows.to_dict("records")
        if self.kind == "function":
            return [_text(self.value(record), "filename()") for record in records]
        formatter = _Formatter()
        return [formatter.vformat(self.value, (), record) for record in records]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise FileNameError(f"a file name is a string; {what!r} gave {quoted(value)}")
    if value.rpartition("/")[2] in ("", "."):  # (with an extension it would be a hidden file)
        raise FileNameError(f"a file has a name; {what!r} gave {quoted(value)}")
    return value


class _Formatter(string.Formatter):
    """Values in a template name a file, never a folder; a column's name may hold dots."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        return kwargs[field_name], field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None or value is pd.NA or value is pd.NaT or value != value:
            raise FileNameError("a value of the filename template is null: fill it first")
        try:
            text = str(super().format_field(value, format_spec))
        except (TypeError, ValueError) as error:
            raise FileNameError(
                f"the filename template asks for :{format_spec} of {quoted(value)}: {error}"
            ) from None
        if "/" in text or "\\" in text or text in (".", ".."):
            raise FileNameError(
                f"unsafe file name: the value {quoted(text)} in the filename template would be "
                "a folder"
            )
        return text


@dataclass(frozen=True)
class Part:
    """Writes the pictures of one partition."""

    column: str
    naming: Naming
    file_format: str | None
    quality: int | None
    keys: tuple[str, ...]

    def lossy(self, file_format: str | None) -> int | None:
        """The quality, where the format has one."""
        return self.quality if file_format in (None, "JPEG", "WEBP") else None

    def __call__(self, frame: pd.DataFrame, run: Run, number: int) -> dict[str, Any]:
        # numbered files do not get in the way of those that they are appended to
        later = f"-{run.generation}" if run.mode == "append" and run.generation else ""
        bases = self._bases(frame, f"{number:05d}{later}")
        frame = self._exported(frame, bases)
        census = count(frame, [self.column])
        cells = frame[self.column].array
        rows = np.flatnonzero(cells.valid)
        names = safe_names(
            [_with_extension(str(bases[i]), cells.data.cell(i), self.naming) for i in rows]
        )
        data = (cells.data.cell(i) for i in rows)
        if run.target.local:
            files = list(map(run.put, names, data))
        else:
            with ThreadPoolExecutor(PUTS) as pool:
                files = list(pool.map(wanted.carried(run.put), names, data))
        return {**census.ticket(), "files": files, "seen": {self.column: census.reason}}

    def _bases(self, frame: pd.DataFrame, stem: str) -> list[str | None]:
        cells = frame[self.column].array
        paths = [None] * len(frame) if cells.path is None else cells.path.to_pylist()
        bases = np.full(len(frame), None, object)
        # a row without a picture needs no name
        rows = np.flatnonzero(cells.valid)
        kept = frame.iloc[rows].drop(columns=self.column)
        bases[rows] = self.naming.names(kept, [paths[i] for i in rows], stem)
        folders: list[str] = [""] * len(frame)
        if self.keys:
            numbered = frame[list(self.keys)].assign(**{"": np.arange(len(frame))})
            for folder, piece in split(numbered, self.keys):
                for row in piece[""]:
                    folders[row] = f"{folder}/"
        return [None if base is None else folders[i] + base for i, base in enumerate(bases)]

    def _exported(self, frame: pd.DataFrame, bases: Sequence[str | None]) -> pd.DataFrame:
        """The frame with the bytes of files, where each name tells its own format."""
        if self.naming.kind not in ("column", "function") or self.file_format is not None:
            return frame
        formats = pd.Series([_format_of(base) for base in bases], index=frame.index, dtype=object)
        cells = frame[self.column]
        dtype: Any = cells.dtype
        program = build(dtype, "export", Row(0), self.quality)
        return assigned(frame, {self.column: onepass.run(cells, [program], formats)[0]})


def _format_of(name: Any) -> str | None:
    return FORMAT_OF.get(_extension(name)) if isinstance(name, str) else None


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _with_extension(name: str, data: Any, naming: Naming) -> str:
    """`name` with an extension that tells the format, where it has none of its own."""
    own = headers.sniff(data) or "PNG"
    extension = _extension(name)
    if FORMAT_OF.get(extension) == own:
        return name
    right = FORMATS.get(own, (f".{own.lower()}",))[0]
    if naming.kind == "own" and extension in headers.EXTENSIONS:
        return name[: -len(extension)] + right
    return name if extension in headers.EXTENSIONS else name + right
