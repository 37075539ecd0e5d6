"""Programs tell each other apart."""

from __future__ import annotations

import daskimg as di
from daskimg.ops import build
from daskimg.program import Function


def test_functions_of_one_name_make_programs_that_differ():
    made = [lambda pixels, k=k: pixels + k for k in range(2)]
    one, two = (build(di.ImageDtype("file"), "apply", Function(f), None) for f in made)
    assert one != two
    assert one.label != two.label
