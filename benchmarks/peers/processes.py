"""The libraries' processes: asked one at a time, and their processor time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.common import Job
from benchmarks.peers.environments import ROOT, python_of, version
from benchmarks.peers.tasks import LIBRARIES

PATIENCE = 240  # seconds for one answer
LIMITS = {"OMP_NUM_THREADS": None, "TF_CPP_MIN_LOG_LEVEL": "2", "TOKENIZERS_PARALLELISM": "false"}


class Library:
    """One library in a process of its own, which lives until `close`."""

    def __init__(self, name: str, envs: Path | None, log: Path) -> None:
        self.name, self.log = name, log
        self.title, package, needs = LIBRARIES[name]
        self.python = python_of(name, needs, envs, log)
        self.version = version(self.python, package)
        self.process: subprocess.Popen[str] | None = None

    def ask(self, function: str, job: Job) -> dict[str, Any]:
        """What came of a task: its seconds, its processor seconds, what it told."""
        if self.process is None:
            self.process = self._started()
        before = processor_seconds(self.process.pid)
        told = _answer(self.process, {"task": function, "job": job._asdict()})
        if told is None:
            self.close()
            return {"failed": f"no answer within {PATIENCE} s, see the log"}
        return {**told, "cpu": processor_seconds(self.process.pid) - before}

    def ask_fresh(self, function: str, job: Job) -> dict[str, Any]:
        """The same of a process that starts for it; the seconds are those of the whole process."""
        start = time.perf_counter()
        process = self._started()
        told = _answer(process, {"task": function, "job": job._asdict()})
        seconds = time.perf_counter() - start
        _end(process)
        if told is None:
            return {"failed": f"no answer within {PATIENCE} s, see the log"}
        return {**told, "seconds": seconds} if "failed" not in told else told

    def close(self) -> None:
        if self.process is not None:
            _end(self.process)
            self.process = None

    def _started(self) -> subprocess.Popen[str]:
        environment = {key: value for key, value in os.environ.items() if key not in LIMITS}
        environment |= {key: value for key, value in LIMITS.items() if value}
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [self.python, "-m", "benchmarks.peers.worker", self.name],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
            start_new_session=True,  # a group: what a library started ends with it
        )


def processor_seconds(pid: int) -> float:
    """Of a process and all that it started."""
    total = 0.0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return total
    for process in family:
        try:
            total += sum(process.cpu_times()[:4])  # its own, and of children that have ended
        except psutil.NoSuchProcess:
            continue
    return total


def _answer(process: subprocess.Popen[str], asked: dict[str, Any]) -> dict[str, Any] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    line = process.stdout.readline() if ready else ""
    return json.loads(line) if line else None


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(subprocess.TimeoutExpired, BrokenPipeError):
        process.stdin.close()
        process.wait(timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
