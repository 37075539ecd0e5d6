"""Samples in tar shards."""
