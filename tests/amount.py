"""How much is tried of what could go on for ever: a sample, or all of it in `make test-all`.

Tests that are sampled are marked so. Those that take long, and have a short one beside them that
shows the same, are marked `long`: they wait for `make test-all` as a whole.
"""

from __future__ import annotations

import os

__all__ = ["ALL", "EVERY_STEP", "REST", "amount"]

ALL = bool(os.environ.get("DASKIMG_TEST_ALL"))
REST = os.environ.get("DASKIMG_TEST_ALL") == "rest"  # all but the cases that `make test` runs
EVERY_STEP = 1 if ALL else 8  # of those that a writer is killed at


def amount(name: str, sample: int, whole: int) -> int:
    """How many cases: `sample` or `whole`, or as many as the environment's `name` says."""
    return int(os.environ.get(name, whole if ALL else sample))
