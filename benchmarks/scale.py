"""``python -m benchmarks.scale``: what a reduced decode changes of a resized JPEG.

Every picture at every size, against Pillow on the full decode: mean grey levels over the picture.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import pictures, report
from daskimg.kernels import codec, resizing
from daskimg.kernels.threads import one_thread

TARGETS = (16, 20, 24, 32, 40, 50, 64, 80, 100, 128, 160, 192, 224, 256, 384, 512)
SHARP = ((300, 75, 2), (333, 85, 1), (375, 90, 2), (500, 95, 0), (600, 90, 2))  # side, JPEG's
HEADINGS = ("size", "resizes of reduced pictures", "worst picture", "mean", "worst pixel")


def sharp() -> Iterator[bytes]:
    """scikit-image's photographs made small: sharper than a camera's."""
    for image in pictures.list_sources():
        for side, quality, subsampling in SHARP:
            small, out = image.copy(), io.BytesIO()
            small.thumbnail((side, side), Image.Resampling.LANCZOS)
            small.save(out, "JPEG", quality=quality, subsampling=subsampling)
            yield out.getvalue()


def differences(data: bytes, resample: str) -> Iterator[tuple[int, float, int]]:
    """The target, and mean and largest difference, of each resize that is of a reduced picture."""
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    for target in TARGETS:
        draft = codec.draft(data, [(target, target, "stretch")], orientation=False)
        if draft.scale == 1:
            continue
        draft = resizing.convert(draft, "RGB")
        small = resizing.resize(draft, target, target, "stretch", resample).astype(int)
        wanted = np.asarray(whole.resize((target, target), resizing.RESAMPLES[resample]))
        off = np.abs(small - wanted)
        yield target, float(off.mean()), int(off.max())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--images", metavar="FOLDER", help="as for python -m benchmarks")
    parser.add_argument("--large", type=int, default=12, help="how many of 12 megapixels")
    parser.add_argument("--resample", default="bilinear", choices=resizing.SMOOTH)
    asked = parser.parse_args()
    folders = [pictures.find_pictures(asked.images, 1000), pictures.make_large(asked.large)]
    files = [path for folder in folders for path in pictures.list_pictures(folder)]
    found: dict[int, list[tuple[float, int]]] = {target: [] for target in TARGETS}
    count = 0
    with one_thread(resizing.torch_module()):
        for data in (*(Path(path).read_bytes() for path in files), *sharp()):
            if data.startswith(b"\xff\xd8"):
                count += 1
                for target, mean, most in differences(data, asked.resample):
                    found[target].append((mean, most))
    print(f"{count:,} JPEGs, {asked.resample}. {report.versions()}\n")
    rows = [HEADINGS, ("---",) * len(HEADINGS)]
    for target, each in found.items():
        means = [mean for mean, _ in each]
        told = [
            max(means, default=0),
            np.mean(means or [0]),
            max((most for _, most in each), default=0),
        ]
        rows.append(
            (str(target), f"{len(each):,}", f"{told[0]:.2f}", f"{told[1]:.2f}", str(told[2]))
        )
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
