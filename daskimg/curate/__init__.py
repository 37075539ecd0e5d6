"""What should not be in a collection: look-alikes, neighbours, an audit in one pass."""

from daskimg.curate.alike import drop_near_duplicates, duplicate_groups, near_duplicates
from daskimg.curate.audit import Audit, audit
from daskimg.curate.nearest import nearest
from daskimg.curate.neighbours import neighbours

__all__ = [
    "Audit",
    "audit",
    "drop_near_duplicates",
    "duplicate_groups",
    "near_duplicates",
    "nearest",
    "neighbours",
]
