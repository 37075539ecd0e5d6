"""A library's process: ``python -m benchmarks.peers.worker LIBRARY``.

Reads a task a line on standard input, as JSON, and answers with a line: the seconds it took and
what came of it, or why nothing did (no reason: the library has nothing for it). What libraries
print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import Any, TextIO

from benchmarks.peers.common import Job


def answer(module: Any, asked: dict[str, Any]) -> dict[str, Any]:
    work = getattr(module, asked["task"], None)
    if work is None:
        return {"failed": ""}
    start = time.perf_counter()
    try:
        told = work(Job(**asked["job"]))
    except Exception as error:  # a row of the table says it
        return {"failed": f"{type(error).__name__}: {error}"}
    return {"seconds": time.perf_counter() - start, **told}


def serve(library: str, answers: TextIO) -> None:
    module = importlib.import_module(f"benchmarks.peers.{library}")
    for line in sys.stdin:
        print(json.dumps(answer(module, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.argv[1], answers)
