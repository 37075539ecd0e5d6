"""How many requests a process may have under way, learnt from what stores answer."""

from __future__ import annotations

import math

from daskimg.transport.retry import is_slow_down

__all__ = ["Pace"]


class Pace:
    """Fewer requests at once when a store says that they are too many, one more after the other.

    An answer of 429 or 503 halves the number, once for all requests that were under way with it;
    as many good answers as there are requests under way add one.

    Examples
    --------
    >>> pace = Pace()
    >>> pace.limit(64)
    64
    """

    def __init__(self) -> None:
        self.most = math.inf
        self.since = 0.0  # when it was lowered last
        self.lowered = 0  # how often

    def limit(self, most: int) -> int:
        """Requests that may be under way, of `most` that the settings allow."""
        self.allowed = most
        return max(1, min(most, int(min(self.most, most))))

    def saw(self, error: BaseException | None, start: float, end: float) -> None:
        """A request from `start` to `end` was answered, or failed."""
        if error is None:
            if self.most < self.allowed:
                self.most += 1 / self.most
        elif is_slow_down(error) and start >= self.since:
            self.most = max(1.0, min(self.most, self.allowed) / 2)
            self.since = end
            self.lowered += 1
