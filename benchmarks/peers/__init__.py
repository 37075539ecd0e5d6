"""The same work by several libraries, side by side: ``python -m benchmarks.peers``.

A file here is a library: what has to be installed for it, and a function for each task that it can
do, written as its own documentation recommends. Each runs in a process of its own, and in an
environment of its own where it needs one. `__main__` asks them in turn and writes the table.
"""
