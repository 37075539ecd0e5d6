"""What things are called, in this process and in the next one.

A write that was killed goes on where the same call is made again, so a query needs a name that
outlives its process: functions and classes are told by their code, instances by their class and
state, and what does not change the rows (credentials, retries, time limits) has no part in it.
Pickles will not do: cloudpickle gives a class of ``__main__`` a random number.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import json
import os
import sys
import sysconfig
import types
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

import pandas as pd
from dask.tokenize import tokenize

from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.transport.source import Source

__all__ = ["Facts", "content_of", "differences", "named"]

# Of a class: what the compiler and decorators put there.
SKIPPED = {"__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__annotations__"}
SKIPPED |= {"__firstlineno__", "__static_attributes__", "__slotnames__", "__abstractmethods__"}
SKIPPED |= {"_abc_impl", "__parameters__", "__orig_bases__", "__annotate_func__"}
PACKAGES = {"site-packages", "dist-packages"}
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis))


class Facts:
    """The facts that make up a query, each under words that a message can use.

    Examples
    --------
    >>> then, now = Facts(), Facts()
    >>> then.add("file_format", named("jpeg", then)), now.add("file_format", named("png", now))
    (['fact', 'file_format'], ['fact', 'file_format'])
    >>> differences(then.told(), now.told())
    'file_format'
    """

    def __init__(self) -> None:
        self.names: dict[Any, Any] = {}  # of what was named; None while it is being named
        self.alive: list[Any] = []  # so that no id is used again
        self._found: dict[str, list[Any]] = {}
        self._details: dict[str, str] = {}

    def add(self, label: str, content: Any, detail: str | None = None) -> Any:
        """Note `content`, which is named already; what stands for it in whatever holds it."""
        found = self._found.setdefault(label, [])
        if content not in found:
            found.append(content)
        if detail is not None:
            self._details[label] = detail
        return ["fact", label]

    def told(self) -> dict[str, list[str]]:
        """A digest for each label, and what there is to say of it."""
        return {
            label: [_digest(found), *([self._details[label]] if label in self._details else [])]
            for label, found in self._found.items()
        }

    @property
    def token(self) -> str:
        """One name for all of it."""
        return _digest({label: told[0] for label, told in sorted(self.told().items())})


class _Within(Facts):
    """Facts of a class: its methods are no facts of their own, other things are."""

    def __init__(self, outer: Facts) -> None:
        self.outer, self.names, self.alive = outer, outer.names, outer.alive

    def add(self, label: str, content: Any, detail: str | None = None) -> Any:
        inside = label.startswith("the function ")
        return content if inside else self.outer.add(label, content, detail)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two queries, in words; both as `Facts.told` gave them."""
    found = []
    for label in {**then, **now}:
        one, other = then.get(label, [None]), now.get(label, [None])
        if one[0] != other[0]:
            both = len(one) > 1 and len(other) > 1 and one[1] != other[1]
            found.append(f"{label} ({one[1]} then, {other[1]} now)" if both else label)
    return ", ".join(found)


def _digest(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def named(value: Any, facts: Facts) -> Any:
    """What tells `value`: text, the same in every process that makes it alike.

    Functions and classes of the user are facts of their own: by their code, defaults, what they
    enclose and the functions, classes and constants that they use (of a list, dict or set among
    their globals, only that it is one: it may be a log or a cache); by their name and ``version``
    where they have such an attribute. What is installed goes by its name.
    """
    if isinstance(value, PLAIN):
        return [type(value).__name__, repr(value)]
    key = id(value)
    if key not in facts.names:
        facts.alive.append(value)
        facts.names[key] = None
        facts.names[key] = _digest(content_of(value, facts))
    return facts.names[key]


@functools.singledispatch
def content_of(value: Any, facts: Facts) -> Any:
    """What a thing consists of, all of it named. Register what is told by less than its state."""
    if is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in fields(value)}
        return [named(type(value), facts), named(own, facts)]
    if hasattr(value, "__dask_tokenize__"):
        return [named(type(value), facts), named(value.__dask_tokenize__(), facts)]
    library = type(value).__module__.partition(".")[0]
    if library == "torch" and hasattr(value, "detach"):
        return _tensor(value)
    if library in ("numpy", "pyarrow", "pandas"):
        return ["data", tokenize(value)]
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # a lock, a connection: told by its class alone
        return [named(type(value), facts)]
    if isinstance(reduced, str):
        return [named(type(value), facts), reduced]
    make, args, *rest = reduced
    state = rest[0] if rest else None
    items = [None if one is None else list(one) for one in rest[1:3]]
    return [named(part, facts) for part in (make, args, state, items)]


def _tensor(value: Any) -> Any:
    flat = value.detach().cpu().contiguous().reshape(-1)
    data = flat.view(sys.modules["torch"].uint8).numpy().tobytes()
    return ["tensor", str(value.dtype), list(value.shape), hashlib.blake2b(data).hexdigest()]


# -- containers and data --------------------------------------------------------------------------
@content_of.register(list)
@content_of.register(tuple)
def _sequence(value: Iterable[Any], facts: Facts) -> Any:
    return [type(value).__name__, [named(item, facts) for item in value]]


@content_of.register(dict)
@content_of.register(types.MappingProxyType)
def _mapping(value: Mapping[Any, Any], facts: Facts) -> Any:
    return ["dict", [[named(key, facts), named(item, facts)] for key, item in value.items()]]


@content_of.register(set)
@content_of.register(frozenset)
def _set(value: Iterable[Any], facts: Facts) -> Any:
    return ["set", sorted(json.dumps(named(item, facts)) for item in value)]


@content_of.register
def _path(value: PurePath, facts: Facts) -> Any:
    return ["path", str(value)]


@content_of.register
def _source(value: Source, facts: Facts) -> Any:
    return ["credentials"]  # fresh ones read the same rows


@content_of.register
def _dtype(value: ImageDtype, facts: Facts) -> Any:
    return ["dtype", value.name, value.on_error, value.mode, value.root]


@content_of.register
def _cells(value: ImageArray, facts: Facts) -> Any:
    return [named(value.dtype, facts), tokenize(value.token()[1:])]


@content_of.register
def _frame(value: pd.DataFrame, facts: Facts) -> Any:
    columns = [named(value.iloc[:, n].array, facts) for n in range(value.shape[1])]
    return ["frame", tokenize(value.columns, value.index), columns]


@content_of.register
def _series(value: pd.Series, facts: Facts) -> Any:
    return ["series", repr(value.name), tokenize(value.index), named(value.array, facts)]


# -- code -----------------------------------------------------------------------------------------
@content_of.register
def _module(value: types.ModuleType, facts: Facts) -> Any:
    return ["module", value.__name__]


@content_of.register
def _partial(value: functools.partial, facts: Facts) -> Any:
    return [named(part, facts) for part in ("partial", value.func, value.args, value.keywords)]


@content_of.register
def _method(value: types.MethodType, facts: Facts) -> Any:
    return ["method", named(value.__self__, facts), named(value.__func__, facts)]


@content_of.register
def _builtin(value: types.BuiltinFunctionType, facts: Facts) -> Any:
    owner = value.__self__
    own = [] if owner is None or inspect.ismodule(owner) else [named(owner, facts)]
    return ["builtin", value.__module__ or "", value.__qualname__, *own]


@content_of.register(staticmethod)
@content_of.register(classmethod)
def _wrapped(value: Any, facts: Facts) -> Any:
    return [type(value).__name__, named(value.__func__, facts)]


@content_of.register
def _property(value: property, facts: Facts) -> Any:
    return ["property", *(named(part, facts) for part in (value.fget, value.fset, value.fdel))]


@content_of.register
def _function(value: types.FunctionType, facts: Facts) -> Any:
    code, cells = value.__code__, value.__closure__ or ()
    enclosed = dict(zip(code.co_freevars, map(_inside, cells), strict=True))
    if _installed(value):
        return ["function", value.__module__, value.__qualname__, named(enclosed, facts)]
    return facts.add(
        f"the function {value.__qualname__}",
        _told(value, facts)
        or [
            _code(code, value.__doc__, facts),
            named([value.__defaults__, value.__kwdefaults__], facts),
            named(enclosed, facts),
            named({name: _global(value, name) for name in _globals(code)}, facts),
        ],
    )


@content_of.register
def _class(value: type, facts: Facts) -> Any:
    if _installed(value):
        return ["class", value.__module__, value.__qualname__]
    slots = (types.MemberDescriptorType, types.GetSetDescriptorType)
    within = _Within(facts)
    own = [
        [name, named(item, within)]
        for name, item in sorted(vars(value).items())
        if name not in SKIPPED and not isinstance(item, slots)
    ]
    bases = [named(base, facts) for base in value.__bases__]
    told = _told(value, facts) or [bases, own]
    return facts.add(f"the class {value.__qualname__}", told)


def _told(value: Any, facts: Facts) -> Any:
    """The version that a function or class says it is of."""
    version = getattr(value, "version", None)
    return ["version", repr(version)] if isinstance(version, str | int | float) else None


def _installed(value: Any) -> bool:
    """Whether it is part of Python or an installed library, not of the user's program."""
    name = value.__module__ or "__main__"
    module = sys.modules.get(name)
    if module is None or name in ("__main__", "__mp_main__"):
        return False
    if name.partition(".")[0] == "daskimg" or name in sys.builtin_module_names:
        return True
    file = os.path.realpath(getattr(module, "__file__", None) or "")
    return file.startswith(_STANDARD) or not PACKAGES.isdisjoint(PurePath(file).parts)


_STANDARD = os.path.realpath(sysconfig.get_path("stdlib")) + os.sep


def _inside(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None


def _globals(code: types.CodeType) -> list[str]:
    """The global names that a function uses, those inside of it included."""
    loads = ("LOAD_GLOBAL", "LOAD_NAME")
    found = {one.argval for one in dis.get_instructions(code) if one.opname in loads}
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return sorted(found.union(*map(_globals, inner)))


def _global(function: types.FunctionType, name: str) -> Any:
    """A global that a function uses; of a container its kind: a log or a cache fills as it runs."""
    value = function.__globals__.get(name)
    return type(value) if isinstance(value, list | dict | set | bytearray) else value


def _code(code: types.CodeType, doc: str | None, facts: Facts) -> Any:
    """What a function does: neither where it stands nor what is said of it."""
    consts = [
        _code(const, None, facts)
        if isinstance(const, types.CodeType)
        else named(None if n == 0 and const == doc else const, facts)
        for n, const in enumerate(code.co_consts)
    ]
    counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    names = [[*code.co_names], [*code.co_varnames], [*code.co_freevars], [*code.co_cellvars]]
    return [code.co_code.hex(), code.co_exceptiontable.hex(), consts, names, counts]
