"""What should not be in a collection: look-alikes, neighbours, an audit in one pass."""

from daskimg.curate.alike import drop_near_duplicates, duplicate_groups, near_duplicates

__all__ = ["drop_near_duplicates", "duplicate_groups", "near_duplicates"]
