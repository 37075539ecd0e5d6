"""``daskimg.max-errors``: how many pictures a run may lose before it ends.

The failures of a run are counted by partition, so that a partition that is computed again (its
worker died, or the query is run once more) takes the place of its earlier count. Threads count in
their process; the workers of a cluster ask its scheduler, once for each partition of a run that
has a limit, and nothing is asked where there is none. Each pass over a column has its own count.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from daskimg.errors import TooManyErrors, cause_of

__all__ = ["Part", "tally"]

Part: TypeAlias = tuple[str, int]  # a run's name and a partition's number
KEPT = 256  # runs whose counts are remembered

_lock = threading.Lock()
_runs: dict[str, dict[int, Counter[str]]] = {}


def tally(limit: int, part: Part | None, reasons: Iterable[str]) -> None:
    """Count what failed in one partition; None for `part`: it is the whole run.

    Raises
    ------
    TooManyErrors
        When more than `limit` have failed, in all partitions counted so far.

    Examples
    --------
    >>> tally(1, ("run", 0), ["decode: OSError: image file is truncated"])
    >>> tally(1, ("run", 1), ["read: FileNotFoundError: a.jpg"])
    Traceback (most recent call last):
    ...
    daskimg.errors.TooManyErrors: more pictures failed than daskimg.max-errors=1 allows: \
1 not found, 1 truncated
    """
    counts = Counter(cause_of(reason) for reason in reasons)
    total = counts if part is None else _everywhere(limit, part, counts)
    if sum(total.values()) > limit:
        raise TooManyErrors(limit, dict(total))


def _everywhere(limit: int, part: Part, counts: Counter[str]) -> Mapping[str, int]:
    if "distributed" in sys.modules:
        from distributed import get_client, get_worker

        try:
            get_worker()
        except ValueError:  # no task of a cluster
            return _count(limit, part, counts)
        found: dict[str, int] = get_client().run_on_scheduler(_count, limit, part, dict(counts))
        return found
    return _count(limit, part, counts)


def _count(limit: int, part: Part, counts: Any) -> dict[str, int]:
    run, number = part
    with _lock:
        parts = _runs.pop(run, {})
        parts[number] = Counter(counts)
        total: Counter[str] = Counter()
        for each in parts.values():
            total.update(each)
        if sum(total.values()) <= limit:  # else the run ends here, and the next one starts anew
            _runs[run] = parts
        while len(_runs) > KEPT:
            del _runs[next(iter(_runs))]
    return dict(total)
