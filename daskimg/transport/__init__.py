"""Bytes of a path: stores, ranges, retries, credentials that never show."""
