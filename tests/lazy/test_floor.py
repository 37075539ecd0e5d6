"""Dask without one of the private names that daskimg makes use of: right values, more decodes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

from daskimg.lazy import expr
from daskimg.testing import make_images
from tests.lazy.hidden import without

NAMES = [
    (does, place, name)
    for does, names in expr.GROUPS.items()
    for place, held in names.items()
    for name in held.split()
]
MERGING, *OTHERS = expr.GROUPS


def bound(does: str) -> list[str]:
    """The names of a group that are attributes of the module."""
    every = " ".join(expr.GROUPS[does].values()).split()
    return [name for name in every if "." not in name]


@pytest.mark.parametrize("does, place, name", NAMES, ids=[name for *_, name in NAMES])
def test_without_a_name_its_group_is_off(does, place, name):
    spec = importlib.util.spec_from_file_location("looked_up_again", expr.__file__)
    again = importlib.util.module_from_spec(spec)
    with without(place, name), pytest.warns(UserWarning, match="known to work") as told:
        spec.loader.exec_module(again)
    assert len(told) == 1
    assert name in str(told[0].message)
    assert does in str(told[0].message)
    assert again.RULES is (does != MERGING)
    for each in bound(does):
        assert getattr(again, each) is not getattr(expr, each)
        assert not isinstance(expr.Expr, getattr(again, each))
    for other in {*expr.GROUPS} - {does}:
        assert all(getattr(again, each) is getattr(expr, each) for each in bound(other))


def test_all_names_are_there():
    assert expr.RULES
    assert all(expr._look_up(names)[1] == [] for names in expr.GROUPS.values())


@pytest.mark.long
def test_right_values_without_each_group(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    make_images(folder, 6, size=((8, 8), (10, 10)), broken=1)
    first = {does: (place, name) for does, place, name in reversed(NAMES)}
    hidden = ["", *(":".join(first[does]) for does in expr.GROUPS)]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.lazy.hidden", folder, tmp_path / "out", *hidden],
        capture_output=True,
        text=True,
    )
    runs = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [run["hidden"] for run in runs] == hidden, ran.stderr
    whole, plain, *others = runs
    assert whole["told"] == []
    for run in (plain, *others):
        assert len(run["told"]) == 1
        assert run["found"] == whole["found"]
    assert all(whole["decodes"] <= run["decodes"] < plain["decodes"] for run in others)
    one, later, again = whole["found"]["epochs"]
    assert one == again != later
