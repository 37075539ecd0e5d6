"""Image programs: what is to be done to each picture of a column, as plain data.

A `Program` is the steps from a source column's cell to one value per row; two programs over one
source share their common first steps. What a step does stands in `daskimg.engine.ops`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd
from dask.tokenize import normalize_token, tokenize

from daskimg.column.dtype import ImageDtype
from daskimg.engine.lasting import Facts, content_of, named

__all__ = ["PATH", "RECORDS", "STRING", "Function", "Program", "Row", "Step"]

STRING = pd.StringDtype("pyarrow")

HEADER = ("height", "width", "channels", "mode", "format", "nbytes")
RECORDS = ("error", "failed", "check", "blame")
# Steps that look at no pixels: a header, a size, what is recorded.
CHEAP = {
    "header",
    "size",
    "exif",
    "exif_tag",
    "path",
    *HEADER,
    *RECORDS,
    *(f"header_{name}" for name in HEADER),
}


# Of steps that open pictures: which parameters tell what they make. The others are credentials,
# retries, limits of bytes and of time, child processes.
MATTERS = {"fetch": (0, 0), "size": (0, 0), "exif": (0, 0), "header": (2, -1), "decode": (0, -1)}
MATTERS["export"] = MATTERS["decode"]


@dataclass(frozen=True)
class Row:
    """Marks a parameter that has a value per row: the n-th of the row-wise arguments."""

    slot: int


PATH = Row(-1)  # the cell's own path


class Function:
    """A user's function as a parameter: equal, and named, by what it does."""

    def __init__(self, func: Callable[..., Any], token: str | None = None) -> None:
        if not callable(func):
            raise TypeError(f"expected a function of an array; got {func!r}")
        self.func, self.token = func, token or str(tokenize(func))

    def __call__(self, *args: Any) -> Any:
        return self.func(*args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Function) and self.token == other.token

    def __hash__(self) -> int:
        return hash(self.token)

    def __repr__(self) -> str:
        return getattr(self.func, "__name__", repr(self.func))

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self.func, self.token)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("daskimg.Function", self.token)


class Step(NamedTuple):
    """One step of a program. What happens when it fails is no part of what it computes."""

    name: str
    params: tuple[Any, ...] = ()
    on_error: str = "raise"

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two steps the same work."""
        return (self.name, self.params)


@dataclass(frozen=True, eq=False)
class Program:
    """Steps from a cell to a value, and the dtype of the column of those values."""

    steps: tuple[Step, ...]
    dtype: Any
    max_errors: int | None = None  # how many may fail in a run; None: any number

    @cached_property
    def label(self) -> str:
        """A name that equal programs share on every machine."""
        return str(tokenize(self))

    def then(self, other: Program, shift: int = 0) -> Program:
        """This program followed by `other`, whose row-wise arguments come after `shift` others."""
        moved = other.renumber(lambda row: Row(row.slot + shift))
        limits = [p.max_errors for p in (self, other) if p.max_errors is not None]
        return Program(self.steps + moved.steps, other.dtype, min(limits, default=None))

    def renumber(self, place: Callable[[Row], Row]) -> Program:
        """The same program with its row-wise arguments elsewhere."""

        def has_place(value: Any) -> bool:
            return isinstance(value, Row) and value != PATH

        def put(value: Any) -> Any:
            return place(value) if has_place(value) else value

        if not any(has_place(value) for step in self.steps for value in step.params):
            return self
        steps = tuple(step._replace(params=tuple(map(put, step.params))) for step in self.steps)
        return Program(steps, self.dtype, self.max_errors)

    def recording(self, record: str | None = None) -> Program:
        """The same work under the policy "null", with `record` (``"blame"``) as its result."""
        steps = tuple(step._replace(on_error="null") for step in self.steps)
        if record is None:
            return Program(steps, self.dtype)
        return Program((*steps, Step(record, (), "null")), STRING)

    @property
    def raises(self) -> bool:
        """Whether failing rows may end the run."""
        return self.max_errors is not None or self.raises_first

    @property
    def raises_first(self) -> bool:
        """Whether the first failing row ends the run, not only more than `max_errors`."""
        return any(step.on_error == "raise" for step in self.steps)

    @property
    def decodes(self) -> bool:
        """Whether it makes pixels (or reads all bytes) of a file: not so for header fields."""
        return any(step.name not in CHEAP for step in self.steps)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.label == other.label

    def __hash__(self) -> int:
        return hash(self.label)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return self._token

    @cached_property
    def _token(self) -> tuple[Any, ...]:
        dtype = self.dtype
        declared = dtype.__dask_tokenize__() if isinstance(dtype, ImageDtype) else str(dtype)
        # Dask takes what comes from here as it is: a function in it would be told by its name alone
        steps = normalize_token([tuple(step) for step in self.steps])
        limit = () if self.max_errors is None else (self.max_errors,)
        return ("daskimg.Program", steps, declared, *limit)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("steps", "dtype", "max_errors", "label")
        return {name: getattr(self, name) for name in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@content_of.register
def _function_content(value: Function, facts: Facts) -> Any:
    return ["function", named(value.func, facts)]


@content_of.register
def _program_content(value: Program, facts: Facts) -> Any:
    facts.add("on_error", sorted({step.on_error for step in value.steps}))
    steps = [
        facts.add(f"the step {step.name}", named(list(_lasting(step)), facts))
        for step in value.steps
    ]
    return ["program", steps, named(value.dtype, facts)]


def _lasting(step: Step) -> tuple[Any, ...]:
    """The parameters of a step that have a say in what it makes, not in how it is come by."""
    return step.params[slice(*MATTERS.get(step.name, (None,)))]
