"""An audit beside cleanvision's: their rates over the same files, and what each finds of faults.

``python -m benchmarks.audit FOLDER --peer PYTHON``: photographs of a folder, of which some are
replaced by faulty ones, or copied; PYTHON is that of an environment with cleanvision.

Of each rule are told: the share of what was planted for it that is flagged, and the share of what
is flagged that was planted, where pictures planted for another rule do not count (a page that is
nearly blank is blurred, too). Whatever the photographs had before counts as wrong, for both.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from benchmarks.pictures import list_pictures

#: cleanvision's names of the rules that both have, and ours.
SHARED = {
    "dark": "dark",
    "light": "bright",
    "blurry": "blurred",
    "grayscale": "grey",
    "low_information": "low_information",
    "odd_aspect_ratio": "odd_aspect",
    "odd_size": "odd_size",
    "exact_duplicates": "exact_duplicate",
    "near_duplicates": "near_duplicate",
}
WHOLE = "process, wall", "process, cpu"  # from its start to its end
#: Run by the peer's Python: its flags, and the seconds that it took, on the clock and of processor.
PEER = """
import json, multiprocessing.pool, resource, sys, time
from cleanvision import Imagelab
def used():
    return sum(t.ru_utime + t.ru_stime for t in map(resource.getrusage, (0, -1)))
began, before = time.perf_counter(), used()
lab = Imagelab(data_path=sys.argv[1])
lab.find_issues(n_jobs=2, verbose=False)
wall, cpu = time.perf_counter() - began, used() - before
flags = {c[3:-6]: lab.issues.index[lab.issues[c]].tolist() for c in lab.issues if c[:3] == "is_"}
json.dump({"wall": wall, "cpu": cpu, "flags": flags}, open(sys.argv[2], "w"))
"""

Photo = Image.Image


def graded(low: float, high: float, n: int, of: int) -> float:
    """The n-th of some strengths, from low to high."""
    share = n / max(1, of - 1)
    return low * (1 - share) + high * share


def light(photo: Photo, share: float) -> Photo:
    """What is left of a photograph that is nearly all white."""
    return Image.blend(Image.new("RGB", photo.size, (255,) * 3), photo, share)


def blank(photo: Photo, share: float) -> Photo:
    """A page of one colour, of the photograph's size, with a line or two on it."""
    page = Image.new("RGB", photo.size, photo.resize((1, 1)).getpixel((0, 0)))
    width, height = photo.size
    ImageDraw.Draw(page).rectangle((0, 0, width * share, height * share), fill=(250, 250, 250))
    return page


def strip(photo: Photo, aspect: float) -> Photo:
    return photo.crop((0, 0, photo.width, max(2, round(photo.width / aspect))))


def scaled(photo: Photo, factor: float) -> Photo:
    return photo.resize((max(4, round(photo.width * factor)), max(4, round(photo.height * factor))))


#: A fault from mild to strong: the weakest and strongest of its measure, and what it does.
FAULTS: dict[str, tuple[float, float, Callable[[Photo, float], Photo]]] = {
    "dark": (0.25, 0.05, lambda photo, x: ImageEnhance.Brightness(photo).enhance(x)),
    "light": (0.05, 0.01, light),
    "blurry": (
        0.02,
        0.05,
        lambda photo, x: photo.filter(ImageFilter.GaussianBlur(x * min(photo.size))),
    ),
    "grayscale": (0, 1, lambda photo, x: photo.convert("L")),
    "low_information": (0.2, 0.0, blank),
    "odd_aspect_ratio": (3, 6, strip),
    "odd_size": (0.1, 0.05, scaled),
}


def plant(photographs: list[str], folder: Path, each: int) -> dict[str, list[str]]:
    """Photographs in a folder, `each` of them with each fault; the files that have it."""
    truth: dict[str, list[str]] = {name: [] for name in SHARED}
    paths = []
    for n, source in enumerate(photographs):
        paths.append(str(folder / f"{n:05d}{Path(source).suffix.lower()}"))
        shutil.copyfile(source, paths[-1])
    left: Iterator[int] = iter(np.random.default_rng(0).permutation(len(paths)).tolist())
    for name, (low, high, make) in FAULTS.items():
        for n in range(each):
            path = paths[next(left)]
            photo = opened(path)
            os.unlink(path)
            path = path.rsplit(".", 1)[0] + ".jpg"
            make(photo, graded(low, high, n, each)).save(path, "jpeg", quality=92)
            truth[name].append(path)
    for _ in range(each):
        path = paths[next(left)]
        shutil.copyfile(path, other := path.replace(".", "_copy."))
        truth["exact_duplicates"] += [path, other]
    for n in range(each):
        path = paths[next(left)]
        photo, other = opened(path), path.rsplit(".", 1)[0] + "_again.jpg"
        if n % 2:
            photo = scaled(photo, 0.5)
        photo.save(other, "jpeg", quality=round(graded(30, 90, n, each)))
        truth["near_duplicates"] += [path, other]
    return truth


def enlarged(photographs: list[str], folder: Path, times: int) -> list[str]:
    """Photographs so often as high and wide, with the grain that a camera adds, as JPEGs."""
    folder.mkdir()
    paths = []
    for n, source in enumerate(photographs):
        photo = opened(source)
        photo = photo.resize((photo.width * times, photo.height * times), Image.Resampling.LANCZOS)
        grain = np.random.default_rng(n).integers(-6, 7, (photo.height, photo.width, 1), np.int16)
        grained = np.clip(np.asarray(photo) + grain, 0, 255).astype(np.uint8)
        paths.append(str(folder / f"{n:05d}.jpg"))
        Image.fromarray(grained).save(paths[-1], "jpeg", quality=90)
    return paths


def opened(path: str) -> Photo:
    with Image.open(path) as photo:
        return photo.convert("RGB")


def ours(folder: str, out: str) -> None:
    """What an audit flags, and the seconds that it took, all being imported as of the peer."""
    import distributed  # noqa: F401 (Dask does, to look for a client)

    import daskimg as di

    began, before = time.perf_counter(), used()
    audit = di.read_images(folder, on_error="null").img.audit()
    table = audit.table.compute()
    wall, cpu = time.perf_counter() - began, used() - before
    flags = {name: table.path[table[name]].tolist() for name in audit.rules}
    Path(out).write_text(json.dumps({"wall": wall, "cpu": cpu, "flags": flags}))


def used() -> float:
    """Seconds of processor so far, those of child processes that ended among them."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def compared(folder: Path, peer: str, pairs: int) -> tuple[list[Any], list[Any]]:
    """Runs of both in turn, each a process of its own."""
    mine, theirs = [], []
    out = folder.with_suffix(".json")
    calls = {
        id(mine): [sys.executable, "-m", "benchmarks.audit", str(folder), "--ours", str(out)],
        id(theirs): [peer, "-c", PEER, str(folder), str(out)],
    }
    for n in range(pairs):
        for runs in (mine, theirs) if n % 2 == 0 else (theirs, mine):
            began, before = time.perf_counter(), used()
            subprocess.run(
                calls[id(runs)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            whole = time.perf_counter() - began, used() - before
            runs.append(json.loads(out.read_text()) | dict(zip(WHOLE, whole, strict=True)))
    return mine, theirs


def found(flagged: set[str], planted: set[str]) -> tuple[float, float]:
    """Recall and precision."""
    right = len(flagged & planted)
    return right / len(planted), right / max(1, len(flagged))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=__doc__)
    parser.add_argument("folder", help="photographs")
    parser.add_argument("--peer", metavar="PYTHON", help="the Python that has cleanvision")
    parser.add_argument("--each", type=int, default=60, help="pictures of each fault")
    parser.add_argument("--times", type=int, default=1, help="enlarge the photographs so often")
    parser.add_argument("--first", type=int, help="so many of the photographs only")
    parser.add_argument("--pairs", type=int, default=3, help="runs of each, in turn")
    parser.add_argument("--ours", metavar="FILE", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        return ours(asked.folder, asked.ours)
    with tempfile.TemporaryDirectory(prefix="daskimg-") as root:
        folder = Path(root, "planted")
        folder.mkdir()
        photographs = list_pictures(Path(asked.folder))[: asked.first]
        if asked.times > 1:
            photographs = enlarged(photographs, Path(root, "large"), asked.times)
        truth = plant(photographs, folder, asked.each)
        count = len(list_pictures(folder))
        mine, theirs = compared(folder, asked.peer, asked.pairs)
    for name, runs in {"daskimg": mine, "cleanvision": theirs}.items():
        wall, cpu = (statistics.median(run[key] for run in runs) for key in ("wall", "cpu"))
        whole, all_cpu = (statistics.median(r[key] for r in runs) for key in WHOLE)
        print(f"{name}: {count:,} pictures, {wall:.2f} s, {count / wall:,.0f}/s; {cpu:.2f} s of "
              f"processor; the process with its imports {whole:.2f} s, {all_cpu:.2f} s of "
              f"processor; load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for key in ("wall", "cpu", *WHOLE):
        each = [b[key] / a[key] for a, b in zip(mine, theirs, strict=True)]
        print(f"{key}: {statistics.median(each):.1f} times ({min(each):.1f}-{max(each):.1f})")
    print("| rule | planted | recall | cleanvision | precision | cleanvision | flagged by both |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, rule in SHARED.items():
        planted = set(truth[name])
        others = {path for paths in truth.values() for path in paths} - planted
        flagged = set(mine[0]["flags"][rule]) - others, set(theirs[0]["flags"][name]) - others
        (recall, precision), (recall_2, precision_2) = (found(one, planted) for one in flagged)
        both, either = flagged[0] & flagged[1], flagged[0] | flagged[1]
        print(
            f"| {rule} | {len(planted)} | {recall:.1%} | {recall_2:.1%} | {precision:.1%} | "
            f"{precision_2:.1%} | {len(both)} of {len(either)} |"
        )


if __name__ == "__main__":
    main()
