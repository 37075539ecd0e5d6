"""Which files there are: folders, globs, braces, partitions in paths."""
