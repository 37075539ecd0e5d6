"""Where a program's values go: the columns that one pass fills, row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.storage import Ragged, Uniform
from daskimg.program import Program

__all__ = ["ImageSink", "ReasonSink", "Sink", "make_sink"]


class Sink:
    """The column that one program fills: a value, a failure or nothing for each row."""

    def __init__(self, program: Program, n: int) -> None:
        self.program, self.n = program, n
        self.policies = [step.on_error for step in program.steps] or ["raise"]

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
        """The column."""
        raise AssertionError("a sink makes a column")


class NumberSink(Sink):
    """Numbers: NaN or NA where the cell is null."""

    def __init__(self, program: Program, n: int) -> None:
        super().__init__(program, n)
        dtype = program.dtype
        self.masked = pd.api.types.is_extension_array_dtype(dtype)
        kind = dtype.numpy_dtype if self.masked else dtype
        self.values = np.full(n, np.nan if kind.kind == "f" else 0, kind)
        self.mask = np.ones(n, bool)

    def put(self, i: int, value: Any) -> None:
        if value is not None:
            self.values[i] = value
            self.mask[i] = False

    def finish(self) -> Any:
        if not self.masked:
            return self.values
        return self.program.dtype.construct_array_type()(self.values, self.mask)


class ListSink(Sink):
    """Strings, bytes, and what a user's function returns."""

    def __init__(self, program: Program, n: int) -> None:
        super().__init__(program, n)
        self.values: list[Any] = [None] * n

    def put(self, i: int, value: Any) -> None:
        self.values[i] = bytes(value) if isinstance(value, memoryview) else value

    def finish(self) -> Any:
        return pd.array(self.values, dtype=self.program.dtype)


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

    def __init__(self, program: Program, n: int) -> None:
        super().__init__(program, n)
        self.values = np.zeros(n, bool)

    def put(self, i: int, value: Any) -> None:
        """Not failed."""

    def fail(self, i: int, reason: str, path: str | None) -> None:
        self.values[i] = True

    def inherit(self, i: int, reason: str | None) -> None:
        self.values[i] = reason is not None

    def finish(self) -> Any:
        return self.values


class PathSink(Sink):
    """``.img.path``: of failed cells too."""

    def __init__(self, program: Program, n: int, paths: Any) -> None:
        super().__init__(program, n)
        self.paths = paths

    def put(self, i: int, value: Any) -> None:
        """The path does not depend on the cell."""

    def finish(self) -> Any:
        values = pa.nulls(self.n, pa.large_string()) if self.paths is None else self.paths
        return self.program.dtype.__from_arrow__(values)


class ImageSink(Sink):
    """Cells of an image column; `data` says how they are laid out."""

    def __init__(self, program: Program, cells: ImageArray) -> None:
        super().__init__(program, len(cells))
        self.cells = cells
        self.errors: list[str | None] | None = None
        self.valid = np.zeros(self.n, bool)
        dtype: ImageDtype = program.dtype
        self.uniform = dtype.shape is not None and dtype.cell_dtype is not None
        self.encoded = dtype.cells == "encoded"
        if dtype.shape is not None and dtype.cell_dtype is not None:
            self.out = np.empty((self.n, *dtype.shape), dtype.cell_dtype)
        self.parts: list[Any] = [] if self.uniform else [None] * self.n

    def put(self, i: int, value: Any) -> None:
        if self.uniform:
            if value.base is not self.out:  # else the kernel wrote it here
                self.out[i] = value
        else:
            self.parts[i] = value
        self.valid[i] = True

    def fail(self, i: int, reason: str, path: str | None) -> None:
        self.inherit(i, reason)

    def inherit(self, i: int, reason: str | None) -> None:
        if reason is not None:
            if self.errors is None:
                self.errors = [None] * self.n
            self.errors[i] = reason

    def warn(self, i: int, reason: str) -> None:
        self.inherit(i, reason)

    def finish(self) -> ImageArray:
        dtype: ImageDtype = self.program.dtype
        data: Ragged | Uniform
        if self.uniform:
            if not self.valid.all():
                self.out[~self.valid] = 0  # whatever the memory held
            data = Uniform(self.out)
        elif self.encoded:
            data = Ragged.of_bytes(self.parts)
        else:
            data = Ragged.of_arrays(self.parts)
        self.parts = []
        return ImageArray(dtype, self.valid, data, self.cells.path, self.errors)


class ViewSink(Sink):
    """The source's own cells, under another policy or with credentials: nothing is copied."""

    def __init__(self, program: Program, cells: ImageArray) -> None:
        super().__init__(program, len(cells))
        self.cells = cells

    def put(self, i: int, value: Any) -> None:
        """Already there."""

    def finish(self) -> ImageArray:
        c = self.cells
        return ImageArray(self.program.dtype, c.valid, c.data, c.path, c.error)


def make_sink(program: Program, record: str | None, cells: ImageArray) -> Sink:
    """The sink for what `program` makes of `cells`."""
    n = len(cells)
    records: dict[str, Callable[[], Sink]] = {
        "path": lambda: PathSink(program, n, cells.path),
        "failed": lambda: FailedSink(program, n),
        "blame": lambda: BlameSink(program, n),
        "error": lambda: ErrorSink(program, n),
        "check": lambda: ReasonSink(program, n),
    }
    if record is not None:
        return records[record]()
    if isinstance(program.dtype, ImageDtype):
        return ImageSink(program, cells) if program.steps else ViewSink(program, cells)
    if pd.api.types.is_numeric_dtype(program.dtype):
        return NumberSink(program, n)
    return ListSink(program, n)
