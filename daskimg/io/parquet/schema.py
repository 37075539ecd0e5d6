"""How image columns stand in a Parquet file, so that every Parquet reader understands them.

=======================  =====================================================================
cells                    Parquet column
=======================  =====================================================================
file, encoded, mixed     ``struct<bytes: binary, path: string>``, as Hugging Face ``Image``
                         (``bytes`` is null for a file that was not embedded)
pixels of one shape      ``arrow.fixed_shape_tensor``
other pixels             ``struct<data: binary, shape: list<int32>, dtype: string>``
lists of pictures        ``list`` of one of the structs, as Hugging Face ``List(Image)``
=======================  =====================================================================

What these cannot hold stands in plain columns beside them: ``<name>.path`` for pixels,
``<name>.error`` (why a cell is null) where the column's policy is "null", ``<name>.shape`` and
``<name>.dtype`` where each cell is of its own kind (a dtype "bytes" or "path" is no array's); of
lists, lists of them. The schema metadata ``daskimg`` tells each column's dtype, so that it comes
back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from dask.dataframe.utils import meta_nonempty

from daskimg.column.array import ImageArray
from daskimg.column.arrow import to_arrow
from daskimg.column.dtype import ImageDtype
from daskimg.column.lists import ImageListArray, ImageListDtype, lists_of
from daskimg.column.storage import Uniform
from daskimg.compat import nulled
from daskimg.engine.ops import policy_of
from daskimg.errors import ImageError
from daskimg.io.commit.failures import picture_columns
from daskimg.secrets import mask_url

__all__ = ["HF_KEY", "KEY", "PANDAS", "Column", "Layout", "told"]

KEY = b"daskimg"
HF_KEY = b"huggingface"
PANDAS = b"pandas"
FLOATS = ("float32", "float64")
HF_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
KINDS = {"shape": pa.list_(pa.int32()), "dtype": pa.string()}  # of cells that differ
RAGGED = pa.struct([("data", pa.binary()), *KINDS.items()])


def told(schema: pa.Schema | pq.FileMetaData, key: bytes) -> dict[str, Any]:
    """What the metadata of a file tell under a key."""
    found: dict[str, Any] = json.loads((schema.metadata or {}).get(key, b"{}"))
    return found


@dataclass(frozen=True)
class Column:
    """An image column (or one of lists of pictures), and the plain columns beside it."""

    name: str
    dtype: ImageDtype  # of lists: of what is in them
    path: bool = False
    error: bool = False
    kinds: bool = False
    lists: bool = False

    @property
    def beside(self) -> dict[str, pa.DataType]:
        """What the Parquet columns beside its own tell, and their types."""
        kinds: dict[str, pa.DataType] = KINDS if self.kinds else {}
        words = {"path": self.path, "error": self.error}
        return {**{name: pa.string() for name, held in words.items() if held}, **kinds}

    @property
    def parts(self) -> list[str]:
        """Names of the Parquet columns that hold it."""
        return [self.name, *(f"{self.name}.{what}" for what in self.beside)]

    @property
    def one_shape(self) -> bool:
        """Whether it is written as a tensor column."""
        one = self.dtype.cell_dtype is not None and bool(np.prod(self.dtype.shape or 0))
        return one and not self.lists

    @property
    def arrow(self) -> pa.DataType:
        """The type of its own Parquet column."""
        return pa.list_(self._cell) if self.lists else self._cell

    @property
    def types(self) -> dict[str, pa.DataType]:
        """Those of all its Parquet columns, by name."""
        beside = [pa.list_(kind) if self.lists else kind for kind in self.beside.values()]
        return dict(zip(self.parts, [self.arrow, *beside], strict=True))

    @property
    def _cell(self) -> pa.DataType:
        if not self.dtype.holds_pixels:
            return HF_IMAGE
        if self.one_shape:
            return pa.fixed_shape_tensor(
                pa.from_numpy_dtype(self.dtype.cell_dtype), self.dtype.shape
            )
        return RAGGED

    def encode(self, cells: ImageArray | ImageListArray) -> list[pa.Array]:
        """The Parquet columns; pixels and bytes in order are not copied."""
        if isinstance(cells, ImageListArray):
            parts = zip(self._encode(cells.own), self.types.values(), strict=True)
            return [lists_of(cells, part, null_failed=False).cast(kind) for part, kind in parts]
        return self._encode(cells)

    def _encode(self, cells: ImageArray) -> list[pa.Array]:
        if cells.dtype != self.dtype:  # of objects: what they are, only a partition knows
            cells = cells.astype(self.dtype)
        beside: list[pa.Array] = []
        if self.path:
            beside.append(_text(cells.path, len(cells)))
        if self.error:
            beside.append(_text(cells.error, len(cells)))
        elif cells.error is not None and (lost := ~cells.valid & cells.has_error).any():
            row = int(np.flatnonzero(lost)[0])
            path = None if cells.path is None else cells.path[row].as_py()
            raise ImageError(cells.error[row].as_py(), path)
        if not self.dtype.holds_pixels:
            data, kinds = _contents(cells, self.kinds)
            return [_hf_struct(cells, data), *beside, *kinds]
        return [self._tensor(cells) if self.one_shape else _ragged(cells), *beside]

    def _tensor(self, cells: ImageArray) -> pa.Array:
        kind = self._cell
        data = cells.data
        values = np.ascontiguousarray(data.values) if isinstance(data, Uniform) else np.empty(0)
        size = int(np.prod(self.dtype.shape or 0))
        null = None if cells.valid.all() else pa.array(~cells.valid)
        flat = pa.array(values.reshape(-1))
        storage = pa.FixedSizeListArray.from_arrays(flat, size, mask=null)
        return pa.ExtensionArray.from_storage(kind, storage.cast(kind.storage_type))


def _text(words: Any, n: int) -> pa.Array:
    return pa.nulls(n, pa.string()) if words is None else words.cast(pa.string())


def _contents(cells: ImageArray, kinds: bool) -> tuple[pa.Array, list[pa.Array]]:
    """The bytes of cells; their shapes and dtypes where each has its own."""
    if cells.data is None:
        return pa.nulls(len(cells), pa.binary()), []
    storage = to_arrow(cells).storage
    data = storage.field("data").cast(pa.binary())
    if not kinds:
        return data, []
    shape, dtype = (storage.field(name) for name in KINDS)
    return nulled(data, pc.equal(dtype, "path")), [shape, dtype]


def _hf_struct(cells: ImageArray, data: pa.Array) -> pa.Array:
    nothing = ~cells.has_path & (~cells.valid if cells.data is not None else True)
    return pa.StructArray.from_arrays(
        [data, _text(cells.path, len(cells))], fields=list(HF_IMAGE), mask=pa.array(nothing)
    )


def _ragged(cells: ImageArray) -> pa.Array:
    free = cells.dtype.derive(cells.dtype.cells)
    storage = to_arrow(ImageArray(free, cells.valid, cells.as_ragged())).storage
    data = storage.field("data").cast(pa.binary())
    return pa.StructArray.from_arrays(
        [data, storage.field("shape"), storage.field("dtype")],
        fields=list(RAGGED),
        mask=pa.array(~cells.valid),
    )


# -- a frame's layout, from its dtypes alone: the same for every partition ------------------------
@dataclass(frozen=True)
class Layout:
    """The Parquet columns of a frame."""

    names: tuple[str, ...]  # of the frame's columns
    images: tuple[Column, ...]
    types: tuple[tuple[str, Any], ...]  # of plain columns whose type is known
    keep_range: bool = False
    partition_cols: tuple[str, ...] = ()
    partition_dtypes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, meta: pd.DataFrame, keep_range: bool = False, partition_cols: Iterable[str] = ()
    ) -> Layout:
        """The layout of a frame with these columns.

        Raises
        ------
        ValueError
            For names that are no strings or not unique, or taken by ``<name>.path``.
        """
        names = list(meta.columns)
        if not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise ValueError(f"Parquet columns have names of their own, strings; got {names}")
        images = tuple(_column(name, meta[name].dtype) for name in picture_columns(meta))
        for column in images:
            taken = [name for name in column.parts[1:] if name in names]
            if taken:
                raise ValueError(
                    f"the column {taken[0]!r} is where the path or error of {column.name!r} is "
                    "written: rename it"
                )
        keys = tuple(partition_cols)
        return cls(
            tuple(names),
            images,
            _plain_types(meta, keys),
            keep_range and not keys,
            keys,
            tuple(str(meta[key].dtype) for key in keys),
        )

    @property
    def image_names(self) -> list[str]:
        """Columns that hold pictures: statistics tell nothing of them."""
        return [column.name for column in self.images]

    def encodings(self, compressed: bool) -> tuple[list[str], dict[str, str]]:
        """Leaves of pixels that a dictionary is written for, and those with another encoding.

        Parquet has no 8-bit integers: plain, a pixel takes four bytes. ``BYTE_STREAM_SPLIT`` puts
        the first bytes of all pixels together, then the (zero) second ones, which compress to
        nothing: as small as by a dictionary of 256 values, and nearly twice as fast. Floats made
        of 8-bit pixels have few values, for which a dictionary is smaller by far; those of
        embeddings differ. Measured: ``benchmarks/RESULTS.md``.
        """
        looked_up: list[str] = []
        split: dict[str, str] = {}
        for column in self.images:
            if column.one_shape and column.dtype.cell_dtype is not None:
                cell = column.dtype.cell_dtype
                small = cell.kind in "iu" and cell.itemsize <= 2
                leaf = f"{column.name}.list.element"
                if (small and compressed) or (column.dtype.tensor and cell.name in FLOATS):
                    split[leaf] = "BYTE_STREAM_SPLIT"
                elif small or (cell.kind == "f" and not column.dtype.tensor):
                    looked_up.append(leaf)
        return looked_up, split

    def refuse_others(self, there: pa.Schema, where: str) -> None:
        """Stop where files of another schema are, which these would be read with.

        Raises
        ------
        ValueError
            Naming the columns that differ.
        """
        mine = {**dict.fromkeys(self.names), **dict(self.types)}
        for column in self.images:
            mine.update(column.types)
        mine = {name: kind for name, kind in mine.items() if name not in self.partition_cols}
        listed = told(there, PANDAS).get("index_columns", [])
        index = [name for name in listed if isinstance(name, str)]
        theirs = {field.name: field.type for field in there if field.name not in index}
        known = told(there, KEY)
        keys = known.get("partition_cols", {})
        differ = [
            f"{name!r} is {theirs.get(name, 'not')} there and {mine.get(name, 'not')} here"
            for name in {**theirs, **mine}
            if not (name in theirs and name in mine and _same(theirs[name], mine[name]))
        ]
        if known and [*keys] != [*self.partition_cols]:
            differ.append(f"folders are of {[*keys]} there and of {[*self.partition_cols]} here")
        if differ:
            raise ValueError(
                f"{where} holds other columns: {'; '.join(differ)}. Nothing was written: append "
                "the same columns, or write into another folder"
            )

    def table(self, frame: pd.DataFrame) -> pa.Table:
        """Plain columns only, with the metadata of the whole file."""
        apart = {*self.image_names, *self.partition_cols}
        plain = [name for name in self.names if name not in apart]
        index = frame.index
        ranged = self.keep_range and isinstance(index, pd.RangeIndex) and index.step == 1
        table = pa.Table.from_pandas(
            frame, preserve_index=None if ranged else True, nthreads=1, columns=plain
        )
        for name, kind in self.types:
            place = table.schema.get_field_index(name)
            if table.schema.field(place).type != kind:
                table = table.set_column(place, name, table.column(place).cast(kind))
        metadata = {**(table.schema.metadata or {}), KEY: self._json(index if ranged else None)}
        features: dict[str, Any] = {}
        for column in self.images:
            if not column.dtype.holds_pixels:
                kind = {"_type": "Image"}
                features[column.name] = {"_type": "List", "feature": kind} if column.lists else kind
        if features:
            metadata[HF_KEY] = json.dumps({"info": {"features": features}}).encode()
        return table.replace_schema_metadata(metadata)

    def fill(self, plain: pa.Table, frame: pd.DataFrame) -> pa.Table:
        """The plain columns of some rows with the image columns of the same rows, in order."""
        found: dict[str, Any] = {}
        columns = {column.name: column for column in self.images}
        for name in self.names:
            if name in columns:
                column = columns[name]
                found.update(zip(column.parts, column.encode(frame[name].array), strict=True))
            elif name not in self.partition_cols:
                found[name] = plain.column(name)
        for name in plain.column_names:  # index columns
            found.setdefault(name, plain.column(name))
        return pa.table(found).replace_schema_metadata(plain.schema.metadata)

    def _json(self, index: Any) -> bytes:
        columns = {
            column.name: {
                # a handle of credentials means nothing elsewhere
                "dtype": json.loads(_anonymous(column.dtype).to_json()),
                "path": column.path,
                "error": column.error,
                "kinds": column.kinds,
                "list": column.lists,
            }
            for column in self.images
        }
        keys = dict(zip(self.partition_cols, self.partition_dtypes, strict=True))
        span = None if index is None else [index.start, index.stop, index.name]
        known = {"version": 1, "columns": columns, "partition_cols": keys, "range": span}
        return json.dumps(known, sort_keys=True).encode()


def _same(one: Any, other: Any) -> bool:
    """Whether two columns can be one; an object column's type is known when it is written."""
    if one is None or other is None or one == other:
        return True
    text = (pa.string(), pa.large_string())
    return one in text and other in text


def _anonymous(dtype: ImageDtype) -> ImageDtype:
    root = dtype.root if dtype.root is None or mask_url(dtype.root) == dtype.root else None
    return dtype.derive(dtype.cells, dtype.shape, source=None, root=root)


def _column(name: str, dtype: Any) -> Column:
    if isinstance(dtype, ImageListDtype):
        return replace(_column(name, dtype.item), lists=True)
    mixed = dtype.cells == "mixed"
    return Column(name, dtype, dtype.holds_pixels, policy_of(dtype) == "null", mixed)


def _plain_types(meta: pd.DataFrame, keys: tuple[str, ...]) -> tuple[tuple[str, Any], ...]:
    plain = meta.drop(columns=[*picture_columns(meta), *keys])
    # an object column's type is known when its objects are seen
    plain = plain.drop(columns=[name for name in plain if plain[name].dtype == object])
    schema = pa.Schema.from_pandas(meta_nonempty(plain), preserve_index=False)
    skipped = (pa.types.is_dictionary, pa.types.is_null)
    return tuple(
        (field.name, field.type)
        for field in schema
        if not any(test(field.type) for test in skipped)
    )
