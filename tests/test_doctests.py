"""Every example in a docstring runs, with the names of `names` at hand."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images

MODULES = ["daskimg", *(m.name for m in pkgutil.walk_packages(di.__path__, "daskimg."))]
FINDER = doctest.DocTestFinder()
EXAMPLES = [
    pytest.param(test, id=test.name)
    for name in MODULES
    for test in FINDER.find(importlib.import_module(name), name)
    if test.examples
]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    make_images(folder, 4, size=(16, 24))
    rgb, grey = np.full((4, 6, 3), 200, "uint8"), np.full((2, 3), 50, "uint8")
    pictures = pd.Series([rgb, grey, None], dtype="image")
    return {"di": di, "np": np, "pd": pd, "folder": str(folder), "pictures": pictures}


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example, names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # examples write to where they stand
    example.globs.update({**names, **example.globs})
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append)
    assert result.failed == 0, "".join(report)
