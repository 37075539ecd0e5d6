"""Private Dask, looked up by name: nothing else imports it.

Of a group of names of which this Dask lacks one, each becomes a class that nothing is an instance
of: what needs the group is off. Without the first group there are no rules at all (`RULES` is
False), and `plain` does everything with public Dask: right, only slower.
"""

from __future__ import annotations

import contextlib
import functools
import operator
import sys
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["GROUPS", "RULES", "operand", "unlock"]

KNOWN = "2026.7.1"  # the Dask that all tests have passed with
# What each group serves, and its names by their modules (those of methods are only checked).
GROUPS = {
    "merging image ops into one pass": {
        "dask._task_spec": "Alias List Task TaskRef convert_legacy_graph",
        "dask.dataframe.dask_expr": "new_collection",
        "dask.dataframe.dask_expr._accessor": "FunctionMap PropertyMap",
        "dask.dataframe.dask_expr._expr": (
            "And Apply ArrowStringConversion Assign AsType Binop Blockwise ColumnsSetter "
            "DropnaFrame DropnaSeries Elemwise Eval Expr Fillna Filter Index Isin Map "
            "MapPartitions Partitions Projection Query RenameFrame RenameSeries ResetIndex "
            "Split ToDatetime ToNumeric Unaryop are_co_aligned is_valid_blockwise_op "
            "optimize_blockwise_fusion "
            "Blockwise._args Blockwise._blockwise_arg Blockwise._kwargs "
            "Blockwise._layer Blockwise._task Expr._lower "
            "Expr._simplify_down Expr._simplify_up Expr._tune_down Expr._tune_up "
            "Expr.dependencies Expr.find_operations "
            "Expr.operand Expr.substitute Expr.substitute_parameters Expr.walk "
            "Expr._filter_passthrough_available"
        ),
        "dask.dataframe.dask_expr._indexing": "Loc",
        "dask.dataframe.dask_expr._reductions": "NLargest",
        "dask.dataframe.dask_expr.io.io": "FromMapProjectable",
        "dask.dataframe.dask_expr.io.parquet": "ReadParquet",
    },
    "len() without reading": {
        "dask.dataframe.dask_expr._expr": "Lengths Literal",
        "dask.dataframe.dask_expr._reductions": "Len",
    },
    "making pandas of what compute() gives only once": {
        "dask.dataframe.dask_expr._repartition": (
            "RepartitionToFewer RepartitionToFewer._partitions_boundaries"
        ),
    },
    "making rows once that are sorted by what a model or a picture gives": {
        "dask.dataframe.dask_expr._shuffle": "BaseSetIndexSortValues",
    },
    "naming files below the folder that paths of a pandas frame share": {
        "dask.dataframe.dask_expr.io.io": "FromPandas",
    },
}


class _Absent:
    """Stands for what this Dask lacks."""

    _parameters: tuple[str, ...] = ()
    _defaults: dict[str, Any] = {}  # noqa: RUF012


def _look_up(names: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
    """All that is there of `names`, and those that are not."""
    found, gone = {}, []
    for place, held in names.items():
        for name in held.split():
            try:
                found[name] = operator.attrgetter(name)(import_module(place))
            except (ImportError, AttributeError):
                gone += [name] if name.partition(".")[0] not in gone else []
    return found, gone


def _bind() -> bool:
    """Make the names attributes of this module; whether the rules have theirs."""
    off = {}
    for does, names in GROUPS.items():
        found, gone = _look_up(names)
        if gone:
            off[does] = gone
            every = " ".join(names.values()).split()
            found = {name: type(name, (_Absent,), {}) for name in every}
        globals().update({name: value for name, value in found.items() if "." not in name})
    if off:
        import dask

        told = "; ".join(f"{does} (needs {', '.join(gone)})" for does, gone in off.items())
        warnings.warn(
            f"Dask {dask.__version__} lacks private names that daskimg makes use of. Results are "
            f"right, only slower: it goes without {told}. Dask {KNOWN} is known to work, and a "
            "newer daskimg may know this one",
            stacklevel=2,
        )
    return next(iter(GROUPS)) not in off


RULES = _bind()


def unlock() -> None:
    """Let threads work on queries of their own at once, as they do from Python 3.12 on.

    Before, a cached property holds one lock for all instances of its class while it is computed:
    two threads that optimise a query each, and one whose property waits for a scheduler in this
    process, may wait for each other for ever. Without it a property may be computed twice.
    """
    classes = [globals()["Expr"].__mro__[-2]] if RULES and sys.version_info < (3, 12) else []
    while classes:
        one = classes.pop()
        classes += one.__subclasses__()
        for item in vars(one).values():
            if isinstance(item, functools.cached_property):
                item.lock = contextlib.nullcontext()  # type: ignore[attr-defined]


def operand(expr: Any, name: str) -> Any:
    """What an expression was given as `name`; None: nothing.

    (As an attribute, it may be a column of that name.)
    """
    return expr.operand(name) if name in type(expr)._parameters else None


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Any of the names."""
