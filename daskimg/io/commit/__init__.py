"""Writes that appear in full or not at all."""

from daskimg.io.commit.run import Run

__all__ = ["Run"]
