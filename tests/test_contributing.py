"""CONTRIBUTING.md names the places to touch: they are there, and they are enough."""

from __future__ import annotations

import re
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.accessor.measure import MeasureOps
from daskimg.engine.ops import FLOAT, OPS, Op, fixed

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_place_is_there():
    places = set(re.findall(r"`((?:daskimg|tests)/[\w./]*)`", TEXT))
    assert len(places) > 15
    assert [place for place in places if not (ROOT / place).exists()] == []


def median(pixels: np.ndarray) -> float:
    return float(np.median(pixels))


def test_a_measure_needs_these_places_and_no_other(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(OPS, "median", Op(median, fixed(FLOAT)))
    monkeypatch.setattr(MeasureOps, "median", lambda self: self._op("median"), raising=False)
    pictures = [np.full((4, 5, 3), 7, np.uint8), np.arange(9, dtype=np.uint8).reshape(3, 3)]
    frame = pd.DataFrame({"image": di.images(pictures)})
    assert frame.image.img.median().tolist() == [7.0, 4.0]
    lazy = dd.from_pandas(frame, npartitions=2)
    assert lazy.image.img.median().dtype == "float64"
    assert lazy[lazy.image.img.median() > 5].image.img.median().compute().tolist() == [7.0]
