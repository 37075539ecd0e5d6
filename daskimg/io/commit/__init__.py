"""Writes that appear in full or not at all."""
