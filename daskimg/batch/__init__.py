"""The user's own code on rows and batches: functions, and models that stay loaded."""

from daskimg.batch.errors import BatchError
from daskimg.batch.maps import map, map_batches

__all__ = ["BatchError", "map", "map_batches"]
