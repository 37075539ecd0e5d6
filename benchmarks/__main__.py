"""``python -m benchmarks``: the rows of `benchmarks.rows`, as a table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

NAMES = ["loops", "B", "C", "D", "E", "L", "T", "A", "J", "S", "W"]
NAMES += ["shards", "cluster", "watch", "cold", "memory", "torchless"]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        help="pictures to read; default: DASKIMG_BENCH_IMAGES, else ../shared/data/grocery "
        "beside the repository, else photographs made from scikit-image's",
    )
    parser.add_argument("--large", metavar="FOLDER", help="pictures of 12 megapixels for row E")
    parser.add_argument("--rows", default=",".join(NAMES), help="default: %(default)s")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each, in turn")
    parser.add_argument("--quick", action="store_true", help="few pictures, to see that it runs")
    parser.add_argument("--profile", action="store_true", help="profile rows B, C, D, E instead")
    parser.add_argument("--output", metavar="FILE", help="append the results to this file")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--without-torch", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    asked.rows = asked.rows.split(",")
    if unknown := set(asked.rows) - set(NAMES):
        parser.error(f"--rows: expected some of {', '.join(NAMES)}, got {', '.join(unknown)}")
    return asked


def main(arguments: Sequence[str] | None = None) -> None:
    asked = parse(arguments)
    load = os.getloadavg()[0]
    if asked.without_torch:
        sys.modules["torch"] = None  # type: ignore[assignment]
    from benchmarks import pictures, report, rows

    images = pictures.find_pictures(asked.images, 16 if asked.quick else 1000)
    with tempfile.TemporaryDirectory(prefix="daskimg-") as folder:
        if asked.quick:
            images = pictures.repeat(pictures.list_pictures(images), 16, Path(folder, "few"))
        setting = rows.Setting(images, asked.large, Path(folder), asked.pairs, asked.quick)
        if asked.profile:
            text = profiles(asked.rows, setting)
        else:
            lines = [line for name in asked.rows for line in told(rows.ROWS[name](setting))]
            if asked.json:
                print(json.dumps(rows.as_json(lines)))
                return
            described = pictures.describe(setting.files)
            text = report.render(lines, described, asked.pairs, asked.rows, load)
    print(f"\n{text}")
    if asked.output:
        with open(asked.output, "a") as file:
            file.write(f"\n{text}")


def told(lines: list) -> list:
    """The same lines, said as they come."""
    for line in lines:
        print(f"{line.row}: {line.library} | {line.loop} | {line.ratio} | {line.cpu}", flush=True)
    return lines


def profiles(names: list[str], setting) -> str:
    from benchmarks import profiling

    folders = {name: setting.large_images if name == "E" else setting.images for name in names}
    found = [profiling.profile(name, folders[name]) for name in names if name in profiling.WORK]
    return "\n\n".join(found) + "\n"


if __name__ == "__main__":
    main()
