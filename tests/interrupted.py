"""What the tests of Ctrl-C run in a process of their own: a folder, then the ways to try.

A picture's function leaves a mark in a log when it begins. From the fourth on it stays until the
interrupt was caught: whatever the speed of the machine, threads are at work then, and a picture
that begins later would be one more mark.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from functools import partial
from pathlib import Path

import dask
from distributed import Client, LocalCluster

import daskimg as di
from tests.patience import until

THREADS = 2


def begun(place: Path) -> int:
    log = place / "log"
    return log.stat().st_size if log.exists() else 0


def slow(value, place: Path):
    with open(place / "log", "ab") as log:
        log.write(b".")
    if begun(place) >= 4:
        until((place / "caught").exists, "the interrupt never came")
    return value


def batch(batch, place: Path):
    return {"n": slow([len(path) for path in batch["path"]], place)}


def row(row, place: Path):
    return {"n": slow(len(row["path"]), place)}


def drain(batches) -> None:
    for _ in batches:
        pass


def later(part, place: Path):
    """A partition's pictures, but for the first partition: a batch of that comes at once."""
    if 0 in part.index:
        return part
    return part.assign(image=part.image.img.apply(partial(slow, place=place)))


def ahead(raw, place: Path):
    """Batches of which the first has come, while threads are at work for the next."""
    df = raw.assign(image=raw.image.img.decode("RGB").img.resize(4, 4))
    batches = df.map_partitions(later, place, meta=df._meta).img.iter_batches(20)
    next(batches)
    until(lambda: begun(place) >= 4, "no picture was begun")
    return batches


def left_early(raw, place: Path) -> None:
    ahead(raw, place).close()
    raise KeyboardInterrupt  # (nobody sent one)


def loaded(df) -> None:
    from torch.utils.data import DataLoader

    drain(DataLoader(df.img.to_torch("image", batch_size=8), batch_size=None, num_workers=1))


WAYS = {
    "iter_batches": lambda df, raw, place: drain(df.img.iter_batches(20)),
    "iter_rows": lambda df, raw, place: drain(df.img.iter_rows()),
    "to_torch": lambda df, raw, place: drain(df.img.to_torch("image", batch_size=20)),
    "break": lambda df, raw, place: left_early(raw, place),
    "compute": lambda df, raw, place: df.compute(),
    "write_parquet": lambda df, raw, place: df.img.write_parquet(place / "out"),
    "write_images": lambda df, raw, place: df.img.write_images(place / "out"),
    "map_batches": lambda df, raw, place: raw.img.map_batches(
        partial(batch, place=place), columns="path", batch_size=1, meta={"n": "int64"}
    ).compute(),
    "map": lambda df, raw, place: (
        raw[["path"]].img.map(partial(row, place=place), meta={"n": "int64"}).compute()
    ),
    "errors": lambda df, raw, place: (
        df.assign(image=df.image.img.encode("png").img.on_error("null")).img.errors().compute()
    ),
    "DataLoader": lambda df, raw, place: loaded(df),
}


def interrupt(place: Path, group: bool) -> None:
    until(lambda: begun(place) >= 4, "no picture was begun")
    if group:
        os.killpg(os.getpgid(0), signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


def attempt(way: str, folder: str, place: Path, settle=lambda: None) -> None:
    """Interrupt one way, and see that no picture begins once the prompt is back."""
    place.mkdir()
    raw = di.read_images(folder, files_per_partition=20)
    pixels = raw.image.img.decode("RGB").img.resize(4, 4)
    df = raw.assign(image=pixels.img.apply(partial(slow, place=place), dtype="image[uint8, 4x4x3]"))
    if way != "break":
        target = partial(interrupt, place, way == "DataLoader")
        threading.Thread(target=target, daemon=True).start()
    try:
        WAYS[way](df, raw, place)
    except KeyboardInterrupt:
        settle()
        before = begun(place)
        (place / "caught").touch()
    else:
        raise AssertionError(f"{way}: it was not interrupted")
    until(lambda: not at_work(), f"{way}: threads are left", every=0.005)
    # (a thread may have looked just before, and begin one more)
    assert begun(place) <= before + THREADS, f"{way}: {before}, then {begun(place)}"
    assert before <= 3 + 2 * THREADS, f"{way}: {before}"
    print(way, before, flush=True)
    left = [path.name for path in place.rglob("*") if path.suffix in (".png", ".parquet", ".tmp")]
    assert left == [], f"{way}: {left}"


def at_work() -> bool:
    """Whether a thread of this process is in daskimg."""
    frames = sys._current_frames()
    frames.pop(threading.get_ident())
    for frame in frames.values():
        while frame is not None:
            if Path(frame.f_code.co_filename).parts[-2:] in {
                ("daskimg", "onepass.py"),
                ("batch", "task.py"),
                ("tests", "interrupted.py"),
            }:
                return True
            frame = frame.f_back
    return False


def on_a_cluster(folder: str, place: Path) -> None:
    options = {"n_workers": 1, "threads_per_worker": THREADS, "dashboard_address": None}
    with LocalCluster(processes=False, **options) as cluster, Client(cluster) as client:

        def cancelled(dask_worker) -> bool:
            return not any(task.state == "executing" for task in dask_worker.state.tasks.values())

        def settle() -> None:
            """The word of the client has come to the worker."""
            until(lambda: all(client.run(cancelled).values()), "tasks are not cancelled")

        for way in ("compute", "write_parquet", "iter_batches", "map_batches"):
            attempt(way, folder, place / way, settle)


def held_at_the_end(folder: str, place: Path) -> None:
    """An iterator that somebody still has when the interpreter ends, in the middle of a loop."""
    global batches
    place.mkdir()
    batches = ahead(di.read_images(folder, files_per_partition=20), place)

    def caught() -> None:
        main = threading.main_thread()
        # the main thread stands in the interpreter's end then, where it waits for threads
        until(lambda: "_shutdown" in names(sys._current_frames().get(main.ident)), "no end")
        time.sleep(0.2)
        (place / "caught").touch()

    threading.Thread(target=caught, daemon=True).start()


def names(frame) -> set[str]:
    found = set()
    while frame is not None:
        found.add(frame.f_code.co_name)
        frame = frame.f_back
    return found


if __name__ == "__main__":
    _, what, given, place = sys.argv
    # a shell's job in the background is started deaf to it, and so are its children
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with dask.config.set(num_workers=THREADS):
        if what == "cluster":
            on_a_cluster(given, Path(place))
        elif what == "held":
            held_at_the_end(given, Path(place) / what)
        else:
            with dask.config.set(scheduler="threads"):
                for name in what.split(","):
                    attempt(name, given, Path(place) / name)
    print("done", flush=True)
