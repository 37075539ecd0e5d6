"""``python -m benchmarks.disk FOLDER``: a slow disk, with files read ahead and without.

FOLDER is mounted once more behind FUSE, where each file takes some milliseconds to be opened. It
takes ``fusermount3`` (Debian: fuse3) and the package mfusepy. The file system is a Python process
and has its share of the processor; each run is a process, in turn.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import machine, versions

SERVE = """
import os, sys, time
import mfusepy

class Slow(mfusepy.Operations):
    use_ns = True
    def getattr(self, path, fh=None):
        found = os.lstat(sys.argv[1] + path)
        times = {f"st_{one}": getattr(found, f"st_{one}_ns") for one in ("atime", "mtime", "ctime")}
        kept = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid")
        return {name: getattr(found, name) for name in kept} | times
    def readdir(self, path, fh):
        return [".", "..", *os.listdir(sys.argv[1] + path)]
    def open(self, path, flags):
        time.sleep(float(sys.argv[3]))
        return os.open(sys.argv[1] + path, os.O_RDONLY)
    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)
    def release(self, path, fh):
        os.close(fh)
        return 0

mfusepy.FUSE(Slow(), sys.argv[2], foreground=True, ro=True)
"""
RUN = """
import sys, time
import dask, daskimg as di
from daskimg.transport import disk
if sys.argv[2] == "without":
    disk.is_slow = lambda: False
def done(what):
    df = di.read_images(sys.argv[1])
    if what == "iterate":
        df = df.assign(image=df.image.img.decode("RGB").img.resize(224, 224))[["image"]]
        return sum(len(batch["image"]) for batch in df.img.iter_batches(64))
    of = df.image.img
    return len(df.assign(n=of.mean() if what == "statistics" else of.height)[["n"]].compute())
for what in ("iterate", "statistics", "headers"):
    with dask.config.set(scheduler="threads"):
        start = time.perf_counter()
        print(done(what) / (time.perf_counter() - start))
"""
DONE = ("decode, resize to 224, iterate", "mean of all pixels", "headers")


def rates(folder: Path, how: str) -> list[float]:
    """Pictures a second of each job, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, str(folder), how],
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in ran.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disk", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--delay", type=float, default=0.01, help="seconds to open a file")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, list[list[float]]] = {"without": [], "ahead": [], "a fast disk": []}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="daskimg-disk-") as mount:
        source = str(asked.folder.absolute())
        server = subprocess.Popen([sys.executable, "-c", SERVE, source, mount, str(asked.delay)])
        try:
            while not os.path.ismount(mount):
                if server.poll() is not None:
                    raise SystemExit("the slow disk ended: are fusermount3 and mfusepy there?")
                time.sleep(0.05)
            for _ in range(asked.rounds):
                for how, runs in found.items():
                    runs.append(rates(asked.folder if "fast" in how else Path(mount), how))
        finally:
            subprocess.run(["fusermount3", "-u", mount], check=False)
            server.wait()
    print(
        f"{machine()}; load before: {load:.1f}. {versions()}. {1e3 * asked.delay:.0f} ms a file.\n"
    )
    print("| what | read as they come | read ahead | a fast disk |\n| --- | --- | --- | --- |")
    for n, what in enumerate(DONE):
        told = (f"{statistics.median(run[n] for run in runs):,.0f}/s" for runs in found.values())
        print(f"| {what} | {' | '.join(told)} |")


if __name__ == "__main__":
    main()
