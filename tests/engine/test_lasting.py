"""Names that outlive the process: by what a thing does, not by where or when it was made."""

from __future__ import annotations

import functools
import threading
import types
from pathlib import Path

import numpy as np
import pytest

from daskimg.engine.lasting import Facts, named

SIZE = 3


def name_of(value) -> str:
    facts = Facts()
    facts.add("it", named(value, facts))
    return facts.token


def compiled(text: str, **known):
    """What a text defines as ``it``, as if in a module of its own."""
    module = types.ModuleType("somewhere")
    exec(text, {**vars(module), **known, "__name__": "__main__"}, space := {**known})
    return space["it"]


def enclosing(value):
    return lambda batch: (batch, value)


class Model:
    def __init__(self, n):
        self.n, self.lock = n, threading.Lock()

    def __getstate__(self):
        return {"n": self.n}

    def __call__(self, batch):
        return helper(batch)


def helper(batch):
    return batch * SIZE


SAME = {
    "comments": ("def it(x):\n    return x + 1", "def it(x):  # one more\n\n\n    return (x + 1)"),
    "what is said of it": ('def it(x):\n    "Adds."', 'def it(x):\n    "Adds one."'),
    "sets": ('it = lambda x: x in {"a", "b", "c"}', 'it = lambda x: x in {"c", "b", "a"}'),
}
OTHER = {
    "the body": ("it = lambda x: x + 1", "it = lambda x: x + 2"),
    "a default": ("def it(x, n=1): return x", "def it(x, n=2): return x"),
    "a default by name": ("def it(x, *, n=1): return x", "def it(x, *, n=2): return x"),
    "what is called": ("it = lambda x: abs(x)", "it = lambda x: len(x)"),
    "what handles errors": (
        "def it(x):\n  try:\n    return x.y\n  except KeyError:\n    return 1",
        "def it(x):\n  try:\n    return x.y\n  except ValueError:\n    return 1",
    ),
    "a method": ("class it:\n  def f(self): return 1", "class it:\n  def f(self): return 2"),
    "an attribute": ("class it:\n  n = 1", "class it:\n  n = 2"),
    "a base": ("class it(dict): pass", "class it(list): pass"),
}


@pytest.mark.parametrize("what", SAME)
def test_the_same(what):
    one, other = map(compiled, SAME[what])
    assert name_of(one) == name_of(other)


@pytest.mark.parametrize("what", OTHER)
def test_another(what):
    one, other = map(compiled, OTHER[what])
    assert name_of(one) != name_of(other)


VALUES = [
    (1, 1.0),
    (None, "None"),
    ([1, 2], (1, 2)),
    ({"a": 1}, {"a": 2}),
    (np.zeros(3), np.ones(3)),
    (Path("a"), Path("b")),
    (functools.partial(helper, 1), functools.partial(helper, 2)),
    (Model(1), Model(2)),
    (Model(1).__call__, Model(2).__call__),
    (np.mean, np.std),
    (str.upper, str.lower),
    ("a".join, "b".join),
]


@pytest.mark.parametrize("one, other", VALUES, ids=lambda value: type(value).__name__)
def test_what_is_enclosed(one, other):
    assert name_of(enclosing(one)) == name_of(enclosing(one))
    assert name_of(enclosing(one)) != name_of(enclosing(other))


def test_constants_and_functions_that_are_used(monkeypatch):
    before, model = name_of(helper), name_of(Model)
    monkeypatch.setitem(globals(), "SIZE", 4)
    assert name_of(helper) != before
    assert name_of(Model) != model  # whose method calls it


def test_a_version_stands_for_the_code():
    one = compiled("class it:\n  version = 3\n  n = 1")
    other = compiled("class it:\n  version = 3\n  n = 2")
    assert name_of(one) == name_of(other)
    other.version = 4
    assert name_of(one) != name_of(other)


def test_what_holds_itself():
    holder = Model(1)
    holder.n = [holder]
    assert name_of(holder) == name_of(holder)
    assert name_of(threading.Lock()) == name_of(threading.Lock())


def test_a_log_that_fills_is_no_other_function():
    log: list[int] = []
    it = compiled("def it(x):\n    log.append(x)\n    return x", log=log)
    before = name_of(it)
    it(3)
    assert log == [3]
    assert name_of(it) == before
