"""One pass over one partition: each picture fetched once, decoded once, shared steps once.

The programs of a pass form a prefix tree. `run` walks it picture by picture, so no more than one
picture of full size is alive beside the outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from daskimg import metrics
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.storage import Ragged, Uniform
from daskimg.errors import ImageError, reason_of
from daskimg.ops import OPS
from daskimg.program import RECORDS, Program, Row, Step

__all__ = ["as_cells", "run"]

COUNTED = ("fetch", "header", "decode")


def as_cells(source: pd.Series) -> ImageArray:
    """The cells of a column: an image column's own, or the files that a column of paths names."""
    if isinstance(source.dtype, ImageDtype):
        cells: ImageArray = source.array
        return cells
    paths = pa.array(source.array, pa.large_string(), from_pandas=True)
    if isinstance(paths, pa.ChunkedArray):
        paths = paths.combine_chunks()
    valid = paths.is_valid().to_numpy(zero_copy_only=False)
    return ImageArray(ImageDtype("file"), valid, None, paths)


def run(source: pd.Series, programs: Sequence[Program], *args: pd.Series) -> list[pd.Series]:
    """Every program's column, in order.

    Parameters
    ----------
    source : Series
        An image column, or a column of paths.
    programs : sequence of Program
    *args : Series
        The row-wise arguments that `Row` parameters name, on the rows of `source`.

    Raises
    ------
    ImageError
        For the first picture that fails a step whose policy is "raise".
    """
    for arg in args:
        if len(arg) != len(source) or not arg.index.equals(source.index):
            raise ValueError(
                f"a row-wise argument has a value for each picture, on the same index; got "
                f"{len(arg)} values for {len(source)} pictures"
            )
    cells = as_cells(source)
    columns = _Pass(cells, programs, [_values(arg) for arg in args]).columns()
    return [pd.Series(c, index=source.index, name=source.name, copy=False) for c in columns]


def _values(arg: pd.Series) -> list[Any]:
    """A value for each row; a picture as its pixels, what is missing as None."""
    if not isinstance(arg.dtype, ImageDtype):
        return [None if value is pd.NA else value for value in arg.tolist()]
    cells: ImageArray = arg.array
    return [cell.to_numpy() if ok else None for cell, ok in zip(cells, cells.valid, strict=True)]


class Node:
    """One step, what follows it, and the columns that end with it."""

    __slots__ = ("children", "kernel", "params", "rows", "sinks", "step")

    def __init__(self, step: Step) -> None:
        self.step = step
        self.kernel = OPS[step.name].kernel
        self.params = list(step.params)
        self.rows = [(k, p.slot) for k, p in enumerate(step.params) if isinstance(p, Row)]
        self.children: list[Node] = []
        self.sinks: list[Sink] = []

    def child(self, step: Step) -> Node:
        """The node of `step` after this one, made on first use."""
        for node in self.children:
            if node.step.key == step.key:
                return node
        node = Node(step)
        self.children.append(node)
        return node


class _Pass:
    def __init__(
        self, cells: ImageArray, programs: Sequence[Program], args: list[list[Any]]
    ) -> None:
        self.cells, self.args = cells, args
        self.runs: Counter[str] = Counter()
        self.paths = None if cells.path is None else cells.path.to_pylist()
        self.errors = None if cells.error is None else cells.error.to_pylist()
        self.root = Node(Step("path"))
        self.sinks: list[Sink] = []
        for program in programs:
            node, steps = self.root, list(program.steps)
            record = steps.pop().name if steps and steps[-1].name in RECORDS else None
            if steps and steps[-1].name == "path":
                record = steps.pop().name
            for step in steps:
                node = node.child(step)
            sink = make_sink(program, record, cells)
            node.sinks.append(sink)
            self.sinks.append(sink)
        _headers_from_bytes(self.root)

    def columns(self) -> list[Any]:
        """Walk the tree for every row."""
        walk, failed = self._walk, self._inherit
        for i in range(len(self.cells)):
            if self.cells.valid[i]:
                walk(self.root, self._value(i), i, 0)
            elif self.root.children or self.root.sinks:
                failed(self.root, i)
        metrics.add(self.runs)
        return [sink.finish() for sink in self.sinks]

    def _value(self, i: int) -> Any:
        data = self.cells.data
        if data is None:
            return self._path(i)
        cell = data.cell(i)
        return memoryview(cell.data) if self.cells.dtype.cells == "encoded" else cell

    def _path(self, i: int) -> str | None:
        return None if self.paths is None else self.paths[i]

    def _walk(self, node: Node, value: Any, i: int, depth: int) -> None:
        for sink in node.sinks:
            sink.put(i, value)
        for child in node.children:
            step = child.step
            if step.name in COUNTED:
                self.runs[step.name] += 1
            try:
                params = child.params
                if child.rows:
                    params = params.copy()
                    for k, slot in child.rows:
                        params[k] = self.args[slot][i] if slot >= 0 else self._path(i)
                result = child.kernel(value, *params)
            except Exception as error:
                self._fail(child, i, depth, error)
                continue
            self._walk(child, result, i, depth + 1)

    def _fail(self, node: Node, i: int, depth: int, error: Exception) -> None:
        stage = "read" if node.step.name in ("fetch", "size") else node.step.name
        if node.step.name == "header" and isinstance(error, OSError) and error.errno is not None:
            stage = "read"  # the file could not be opened; its content was never looked at
        reason = reason_of(stage, error)
        path = self._path(i)
        self.runs["failed"] += 1
        for sink in _below(node):
            if sink.raises_at(depth):
                raise ImageError(reason, path) from error
            sink.fail(i, reason, path)

    def _inherit(self, node: Node, i: int) -> None:
        """A null cell stays null, with the reason it has."""
        reason = None if self.errors is None else self.errors[i]
        for sink in _below(node):
            sink.inherit(i, reason)


def _below(node: Node) -> list[Sink]:
    found = list(node.sinks)
    for child in node.children:
        found += _below(child)
    return found


def _headers_from_bytes(root: Node) -> None:
    """Where a pass fetches a file anyway, its header and size come from those bytes."""
    fetched = {node.params[0]: node for node in root.children if node.step.name == "fetch"}
    for node in list(root.children):
        if node.step.name in ("header", "size") and node.params[0] in fetched:
            root.children.remove(node)
            fetched[node.params[0]].children.append(node)


# -- where a program's values go ----------------------------------------------------------------
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
        if dtype.shape is not None and dtype.cell_dtype is not None:
            self.out = np.zeros((self.n, *dtype.shape), dtype.cell_dtype)
        self.parts: list[Any] = [] if self.uniform else [None] * self.n

    def put(self, i: int, value: Any) -> None:
        if self.uniform:
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

    def finish(self) -> ImageArray:
        dtype: ImageDtype = self.program.dtype
        data: Ragged | Uniform
        if self.uniform:
            data = Uniform(self.out)
        elif dtype.cells == "encoded":
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
        "error": lambda: ReasonSink(program, n),
        "check": lambda: ReasonSink(program, n),
    }
    if record is not None:
        return records[record]()
    if isinstance(program.dtype, ImageDtype):
        return ImageSink(program, cells) if program.steps else ViewSink(program, cells)
    if pd.api.types.is_numeric_dtype(program.dtype):
        return NumberSink(program, n)
    return ListSink(program, n)
