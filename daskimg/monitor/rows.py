"""What became of the rows, out of all that was told."""

from __future__ import annotations

from collections import Counter

from daskimg.engine.gauge import HELD, LATER, OPENING, READ
from daskimg.metrics import ROWS
from daskimg.monitor.tally import Figures

__all__ = ["causes_of", "kept_of", "kind_of", "missing_of", "passed_of"]


def kind_of(total: Figures) -> str:
    """How far files were opened."""
    return next((k for k in (*OPENING, READ, HELD) if _rows(total, k)), LATER)


def kept_of(total: Figures) -> int:
    """Pictures that came through."""
    kind = kind_of(total)
    later = 0 if kind == LATER else sum(_failed(total, LATER).values())
    return int(total[ROWS + kind, "kept"]) - later


def missing_of(total: Figures) -> int:
    """Null cells without a reason."""
    return int(total[ROWS + kind_of(total), "missing"])


def passed_of(total: Figures) -> int:
    """Pictures that are done."""
    kinds = (*OPENING, READ, HELD, LATER)
    return next((int(n) for kind in kinds if (n := total[ROWS + kind, "passed"])), 0)


def causes_of(total: Figures) -> dict[str, int]:
    """How many failed for what."""
    found = Counter[str]()
    opened = any(_rows(total, kind) for kind in OPENING)  # with what was recorded before
    for kind in (*OPENING, READ, LATER) if opened else (READ, HELD, LATER):
        found.update(_failed(total, kind))
    return dict(found)


def _rows(total: Figures, kind: str) -> dict[str, int]:
    """What became of rows in passes of a kind."""
    rows = ROWS + kind
    return {w: int(n) for (stage, w), n in total.items() if stage == rows and n and w != "passed"}


def _failed(total: Figures, kind: str) -> dict[str, int]:
    """How many of them failed for what."""
    return {w: n for w, n in _rows(total, kind).items() if w not in ("kept", "missing")}
