"""Programs tell each other apart."""

from __future__ import annotations

import subprocess
import sys

import pytest

import daskimg as di
from daskimg.engine.ops import build
from daskimg.engine.program import Function


def test_functions_of_one_name_make_programs_that_differ():
    made = [lambda pixels, k=k: pixels + k for k in range(2)]
    one, two = (build(di.ImageDtype("file"), "apply", Function(f), None) for f in made)
    assert one != two
    assert one.label != two.label


@pytest.mark.long
def test_a_dtype_with_credentials_has_one_token_in_every_process():
    code = """
import pytest

import daskimg as di
from dask.tokenize import tokenize
from daskimg.transport.fetch import Source
print(tokenize(di.ImageDtype("file", source=Source({"key": "k", "secret": "s"}).handle)))
"""
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert first.stdout == second.stdout != ""
