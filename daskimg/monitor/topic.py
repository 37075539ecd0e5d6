"""Under which name the processes of a cluster tell one another what is done."""

from typing import Any, TypeAlias

__all__ = ["TOPIC", "Event"]

TOPIC = "daskimg"
Event: TypeAlias = dict[str, Any]
