"""Processes that make pieces of a frame, for more cores than the threads of one can use.

Threads share an interpreter; processes have one each. What they make comes over as a file of the
memory that all processes of a machine see, where there is such (Linux), and is not copied again.
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing as mp
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle

from daskimg import metrics
from daskimg.engine.rooms import Place
from daskimg.guard.crashes import suspect_all
from daskimg.lazy.bare import Frame
from daskimg.stream.runners import Rows, Slice, Threads, cut

__all__ = ["Processes"]

SHARED = Path("/dev/shm")  # a file there is memory
PIDS = Path("/proc/self/ns/pid")
PREFIX = "daskimg-"
LEAST = 2**20  # bytes for which a file is worth its calls
LIVES = 3  # deaths of processes that a run outlives


class _Lent(NamedTuple):
    """A frame on its way: its pickle, and where the buffers lie that the pickle leaves out."""

    head: bytes
    file: str | None = None
    sizes: Sequence[int] = ()


class Processes(Threads):
    """Processes of this machine, as many as Dask would use. What is no decoding stays in threads.

    One that dies takes no rows along: they are made once more, with care.
    """

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.blobs: dict[int, tuple[Rows, bytes]] = {}
        self.deaths = 0
        self.lock = threading.Lock()
        self.executor = _Executor(n, careful=False)

    def run(self, rows: Rows, slices: Sequence[Slice], place: Place | None = None) -> Any:
        given = [Slice(each.loaded.result(), each.start, each.stop) for each in slices]
        work = cloudpickle.dumps([Slice(found := s.rows(), 0, len(found)) for s in given], 5)
        task = self._blob(rows), work
        return task, self.executor, self.executor.submit(*task)

    def _blob(self, rows: Rows) -> bytes:
        """`rows`, pickled once. (They are kept, so that their `id` is theirs.)"""
        if id(rows) not in self.blobs:
            self.blobs = {id(rows): (rows, cloudpickle.dumps(rows, 5))}
        return self.blobs[id(rows)][1]

    def result(self, future: Any) -> Frame:
        if not isinstance(future, tuple):
            return super().result(future)
        task, executor, made = future
        while True:
            try:
                return _taken(made.result())
            except BrokenProcessPool as error:
                executor = self._renewed(executor, error)
                made = executor.submit(*task)

    def _renewed(self, broken: _Executor, error: BrokenProcessPool) -> _Executor:
        """Other processes, which open each picture in a child of their own."""
        with self.lock:
            if self.executor is broken:
                self.deaths += 1
                if self.deaths > LIVES or not broken.began:
                    raise RuntimeError(_WHY) from error
                broken.close()
                self.executor = _Executor(self.workers, careful=True)
            return self.executor

    def close(self) -> None:
        self.executor.close()
        super().close()


_WHY = """\
the processes that make pictures end before they give any back. Either the system ends them (see \
whether it has memory for so many: dask.config.set(num_workers=...)), or they cannot start: what a \
script does has to stand below `if __name__ == "__main__":`, as each process reads the script. \
scheduler="threads" needs neither"""


class _Executor:
    """Processes that end with whoever began them, however he ends."""

    def __init__(self, n: int, careful: bool) -> None:
        self.folder = _folder_of_mine()
        self.began = False  # whether any result came
        ends, self.alive = mp.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(
            n, _context(), _begin, (ends, self.folder, careful, os.environ.get(metrics.TOLD_TO))
        )

    def submit(self, *task: bytes) -> Future[_Lent]:
        try:
            future = self.pool.submit(_make, *task)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(self._saw)
        return future

    def _saw(self, future: Future[_Lent]) -> None:
        if not future.cancelled() and not isinstance(future.exception(), BrokenProcessPool):
            self.began = True

    def close(self) -> None:
        self.alive.close()
        self.pool.shutdown(wait=True, cancel_futures=True)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _folder_of_mine() -> str | None:
    """A new folder in shared memory, where there is such. Those of processes that died go."""
    if not (SHARED.is_dir() and os.access(SHARED, os.W_OK) and PIDS.exists()):
        return None
    for folder in SHARED.glob(f"{PREFIX}{_pids()}-*"):
        if not Path(f"/proc/{folder.name.split('-')[2]}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{PREFIX}{_pids()}-{os.getpid()}-", dir=SHARED)


def _pids() -> int:
    """Whose process numbers these are: containers may share memory and not those."""
    return PIDS.stat().st_ino


@lru_cache
def _context() -> Any:
    """How processes begin: not as a copy of this one, whose threads would be missing in it."""
    if "forkserver" not in mp.get_all_start_methods():
        return mp.get_context("spawn")
    context: Any = mp.get_context("forkserver")
    # what each would import, imported once (but for one that others have started already)
    context.set_forkserver_preload(["daskimg", "torch"])
    return context


# -- in the process -------------------------------------------------------------------------------
_folder: str | None = None


def _begin(
    ends: Connection[Any, Any], folder: str | None, careful: bool, told_to: str | None
) -> None:
    global _folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who began this
    _folder = folder
    if told_to is not None:
        os.environ[metrics.TOLD_TO] = told_to
    if careful:
        suspect_all()
    threading.Thread(target=_end_with, args=(ends, folder), daemon=True).start()


def _end_with(ends: Connection[Any, Any], folder: str | None) -> None:
    parent = mp.parent_process()
    wait([ends] if parent is None else [ends, parent.sentinel])
    if folder is not None and parent is not None and not parent.is_alive():
        shutil.rmtree(folder, ignore_errors=True)  # nobody else is left to do so
    os._exit(0)


@lru_cache(4)
def _loaded(rows: bytes) -> Rows:
    made: Rows = cloudpickle.loads(rows)
    return made


def _make(rows: bytes, slices: bytes) -> _Lent:
    return _lent(cut(_loaded(rows), *cloudpickle.loads(slices)), _folder)


def _lent(frame: Frame, folder: str | None) -> _Lent:
    buffers: list[Any] = []
    head = cloudpickle.dumps(frame, 5, lambda buffer: buffers.append(buffer.raw()))
    sizes = [buffer.nbytes for buffer in buffers]
    if folder is None or sum(sizes) < LEAST:
        return _Lent(cloudpickle.dumps(frame, 5))
    try:
        return _Lent(head, _kept(buffers, folder), sizes)
    except OSError:  # no room left there
        return _Lent(cloudpickle.dumps(frame, 5))


def _kept(buffers: Sequence[memoryview], folder: str) -> str:
    """A file that holds these, and is of whoever reads it."""
    handle, path = tempfile.mkstemp(dir=folder)
    try:
        for buffer in buffers:
            _write(handle, buffer)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(handle)
    return path


def _write(handle: int, buffer: memoryview) -> None:
    """All of a buffer, from the next border of `ALIGNED` bytes on."""
    while len(buffer):
        buffer = buffer[os.write(handle, buffer) :]
    os.lseek(handle, -os.lseek(handle, 0, os.SEEK_CUR) % ALIGNED, os.SEEK_CUR)


ALIGNED = 64


def _taken(lent: _Lent) -> Frame:
    """What was lent, on the memory that it was put in."""
    if lent.file is None:
        made: Frame = cloudpickle.loads(lent.head)
        return made
    handle = os.open(lent.file, os.O_RDWR)
    try:
        memory = memoryview(mmap.mmap(handle, os.fstat(handle).st_size))
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            os.unlink(lent.file)
    buffers, start = [], 0
    for size in lent.sizes:
        buffers.append(memory[start : start + size])
        start += size + -(start + size) % ALIGNED
    made = cloudpickle.loads(lent.head, buffers=buffers)
    return made
