"""Readers and writers: a room or a file for each format, its reader and its writer together."""

from daskimg.io.commit import write

__all__ = ["write"]
