"""Where a program's values go: the columns that one pass fills, row by row.

A sink is made once for a program, and begun anew for each partition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.storage import Ragged, Uniform
from daskimg.column.text import places
from daskimg.engine import rooms
from daskimg.engine.program import Program

__all__ = ["ImageSink", "ReasonSink", "Sink", "make_sink"]


class Sink:
    """The column that one program fills: a value, a failure or nothing for each row."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.policies = [step.on_error for step in program.steps] or ["raise"]

    def begin(self, cells: ImageArray) -> None:
        """The rows to come are those of `cells`."""
        raise AssertionError("a sink knows its rows")

    def raises_at(self, depth: int) -> bool:
        """Whether a failure of the step at `depth` ends the run."""
        return self.policies[min(depth, len(self.policies) - 1)] == "raise"

    def put(self, i: int, value: Any) -> None:
        """The value of row `i`."""
        raise AssertionError("a sink says where its values go")

    def fail(self, i: int, reason: str, path: str | None) -> None:
        """Row `i` failed in this pass. Nothing is put: it stays null."""

    def inherit(self, i: int, reason: str | None) -> None:
        """Row `i` was null before: failed (with a reason) or missing."""

    def warn(self, i: int, reason: str) -> None:
        """Row `i` has a value, of a picture that was decoded in part."""

    def finish(self) -> Any:
        """The column; the sink lets go of it."""
        raise AssertionError("a sink makes a column")


class NumberSink(Sink):
    """Numbers: NaN or NA where the cell is null."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        dtype = program.dtype
        masked = pd.api.types.is_extension_array_dtype(dtype)
        self.masked_array = dtype.construct_array_type() if masked else None
        self.kind = dtype.numpy_dtype if masked else dtype
        self.null = np.nan if self.kind.kind == "f" else 0

    def begin(self, cells: ImageArray) -> None:
        self.values = np.full(len(cells), self.null, self.kind)
        self.mask = np.ones(len(cells), bool)

    def put(self, i: int, value: Any) -> None:
        if value is not None:
            self.values[i] = value
            self.mask[i] = False

    def finish(self) -> Any:
        values, mask = self.values, self.mask
        del self.values, self.mask
        return values if self.masked_array is None else self.masked_array(values, mask)


class ListSink(Sink):
    """Strings, bytes, and what a user's function returns."""

    def begin(self, cells: ImageArray) -> None:
        self.values: list[Any] = [None] * len(cells)

    def put(self, i: int, value: Any) -> None:
        self.values[i] = bytes(value) if isinstance(value, memoryview) else value

    def finish(self) -> Any:
        values, self.values = self.values, []
        return pd.array(values, dtype=self.program.dtype)


class ReasonSink(ListSink):
    """``.img.error``, ``check()``: why a cell failed, here or before."""

    def put(self, i: int, value: Any) -> None:
        """A cell that is well has no reason."""

    def fail(self, i: int, reason: str, path: str | None) -> None:
        self.values[i] = reason

    def inherit(self, i: int, reason: str | None) -> None:
        self.values[i] = reason


class ErrorSink(ReasonSink):
    """``.img.error``: warnings too."""

    def warn(self, i: int, reason: str) -> None:
        self.values[i] = reason


class BlameSink(ReasonSink):
    """Reason and path of what failed in this pass, for an error raised later."""

    def fail(self, i: int, reason: str, path: str | None) -> None:
        self.values[i] = f"{reason}\0{path or ''}"

    def inherit(self, i: int, reason: str | None) -> None:
        """Recorded before: nobody's fault here."""


class FailedSink(Sink):
    """``.img.failed``."""

    def begin(self, cells: ImageArray) -> None:
        self.values = np.zeros(len(cells), bool)

    def put(self, i: int, value: Any) -> None:
        """Not failed."""

    def fail(self, i: int, reason: str, path: str | None) -> None:
        self.values[i] = True

    def inherit(self, i: int, reason: str | None) -> None:
        self.values[i] = reason is not None

    def finish(self) -> Any:
        values = self.values
        del self.values
        return values


class CellSink(Sink):
    """What needs no picture: it is in the cells themselves."""

    def begin(self, cells: ImageArray) -> None:
        self.cells = cells

    def put(self, i: int, value: Any) -> None:
        """Already there."""

    def finish(self) -> Any:
        cells = self.cells
        del self.cells
        return self.of(cells)

    def of(self, cells: ImageArray) -> Any:
        """The column."""
        raise AssertionError("a sink of cells knows what it takes from them")


class PathSink(CellSink):
    """``.img.path``: of failed cells too."""

    def of(self, cells: ImageArray) -> Any:
        paths = places(cells.path)
        paths = pa.nulls(len(cells), pa.large_string()) if paths is None else paths
        return self.program.dtype.__from_arrow__(paths)


class ViewSink(CellSink):
    """The source's own cells, under another policy or with credentials: nothing is copied."""

    def of(self, cells: ImageArray) -> ImageArray:
        made: ImageArray = cells.astype(self.program.dtype, copy=False)
        return made


class ImageSink(Sink):
    """Cells of an image column; `data` says how they are laid out."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        dtype: ImageDtype = program.dtype
        self.uniform = dtype.shape is not None and dtype.cell_dtype is not None
        self.encoded = dtype.cells == "encoded"

    def begin(self, cells: ImageArray) -> None:
        n, dtype = len(cells), self.program.dtype
        self.path = places(cells.path)
        self.errors: list[str | None] | None = None
        self.valid = np.zeros(n, bool)
        if self.uniform:
            self.out = rooms.empty(n, dtype.shape, dtype.cell_dtype)
            self.memory = self.out if self.out.base is None else self.out.base
        else:
            self.parts: list[Any] = [None] * n

    def put(self, i: int, value: Any) -> None:
        if self.uniform:
            if value.base is not self.memory:  # else the kernel wrote it here
                self.out[i] = value
        else:
            self.parts[i] = value
        self.valid[i] = True

    def fail(self, i: int, reason: str, path: str | None) -> None:
        self.inherit(i, reason)

    def inherit(self, i: int, reason: str | None) -> None:
        if reason is not None:
            if self.errors is None:
                self.errors = [None] * len(self.valid)
            self.errors[i] = reason

    def warn(self, i: int, reason: str) -> None:
        self.inherit(i, reason)

    def finish(self) -> ImageArray:
        data: Ragged | Uniform
        if self.uniform:
            if not self.valid.all():
                self.out[~self.valid] = 0  # whatever the memory held
            data = Uniform(self.out)
            del self.out, self.memory
        else:
            data = (Ragged.of_bytes if self.encoded else Ragged.of_cells)(self.parts)
            del self.parts
        path, self.path = self.path, None
        return ImageArray(self.program.dtype, self.valid, data, path, self.errors)


def make_sink(program: Program, record: str | None) -> Sink:
    """The sink for what `program` makes of cells."""
    records: dict[str, type[Sink]] = {
        "path": PathSink,
        "failed": FailedSink,
        "blame": BlameSink,
        "error": ErrorSink,
        "check": ReasonSink,
    }
    kind: type[Sink] = ListSink
    if record is not None:
        kind = records[record]
    elif isinstance(program.dtype, ImageDtype):
        kind = ImageSink if program.steps else ViewSink
    elif pd.api.types.is_numeric_dtype(program.dtype):
        kind = NumberSink
    return kind(program)
