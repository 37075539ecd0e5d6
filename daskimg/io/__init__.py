"""Readers and writers: one file per format, its reader and its writer together."""
