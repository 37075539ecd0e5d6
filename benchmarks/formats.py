"""``python -m benchmarks.formats``: which format to keep pictures in, as a table and a plot.

The same pictures, photographs and drawings, are written by Pillow in each format, and read by
daskimg: bytes, rate of decoding, and what was lost (PSNR and SSIM of scikit-image).
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import daskimg as di
from benchmarks import pictures
from benchmarks.report import machine, versions

SIZE = (768, 1024)
WORDS = ["a", "photograph", "of", "a", "shop", "and", "a", "drawing", "of", "a", "chart"]

Which = tuple[str, str]  # format, and in files or in Parquet
IN = "parquet"
EXACT = float("inf"), 1.0


class Kind(NamedTuple):
    """A format of Pillow, and what its writer is told."""

    name: str
    format: str
    options: dict[str, Any]


KINDS = [
    Kind("JPEG, quality 75", "JPEG", {"quality": 75}),
    Kind("JPEG, quality 90", "JPEG", {"quality": 90}),
    Kind("WebP, quality 80", "WebP", {"quality": 80}),
    Kind("WebP, lossless", "WebP", {"lossless": True}),
    Kind("AVIF, quality 60", "AVIF", {"quality": 60}),
    Kind("AVIF, quality 80", "AVIF", {"quality": 80}),
    Kind("PNG", "PNG", {}),
    Kind("TIFF, deflate", "TIFF", {"compression": "tiff_adobe_deflate"}),
    Kind("TIFF, plain", "TIFF", {}),
]
ARRAYS: list[tuple[str, Callable[..., Any], Callable[..., Any]]] = [
    ("NumPy", lambda df, path: df.img.write_numpy(path), di.read_numpy),
    ("Parquet of pixels", lambda df, path: df.img.write_parquet(path), di.read_parquet),
]


class Found(NamedTuple):
    """Sizes are bytes a pixel, rates megapixels a second."""

    kind: str
    size: float
    in_parquet: float | None
    psnr: float  # dB; infinite where nothing was lost
    ssim: float
    rate: float
    parquet_rate: float | None


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.formats", description=__doc__)
    parser.add_argument("--images", metavar="FOLDER", help="photographs of 2 megapixels and more")
    parser.add_argument("--count", type=int, default=6, help="pictures of each sort")
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--copies", type=int, default=8, help="of each, where rates are taken")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plot", metavar="FILE", help="a PNG of size and rate")
    parser.add_argument("--output", metavar="FILE", help="append the tables to this file")
    asked = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    sorts = {
        "photographs": photographs(asked.images, asked.count, tuple(asked.size)),
        "drawings": [drawing(number, tuple(asked.size)) for number in range(asked.count)],
    }
    found = {}
    with tempfile.TemporaryDirectory(prefix="daskimg-formats-") as folder:
        for name, made in sorts.items():
            found[name] = measure(made, Path(folder, name), asked.rounds, asked.copies)
    height, width = asked.size
    text = (
        f"{machine()}; load before: {load:.1f}. {versions()}. {asked.count} photographs and "
        f"{asked.count} drawings of {height} x {width}; medians of {asked.rounds} rounds from "
        "format to format.\n\n"
    )
    text += "\n\n".join(f"{name.capitalize()}:\n\n{table(rows)}" for name, rows in found.items())
    print(text)
    if asked.output:
        with open(asked.output, "a") as file:
            file.write(f"\n{text}\n")
    if asked.plot:
        plot(found, asked.plot)


def photographs(folder: str | None, count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Reduced, so that little is left of how the files themselves were compressed."""
    files = pictures.list_pictures(Path(folder) if folder else pictures.make_large(count))
    image = di.images(files[:count]).img.decode("RGB")
    return list(image.img.resize(*size, fit="cover").img.to_numpy())


def drawing(number: int, size: tuple[int, int]) -> np.ndarray:
    """A page with a chart, words, flat colours and one gradient; its edges are smooth."""
    rng = np.random.default_rng(number)
    height, width = (2 * side for side in size)
    page = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(height / 30)
    for bar in range(12):
        left, top = width * (0.06 + 0.04 * bar), height * rng.uniform(0.1, 0.5)
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        draw.rectangle((left, top, left + width * 0.03, height * 0.55), fill=color)
    x = np.linspace(0.6 * width, 0.95 * width, 60)
    y = height * (0.3 + np.cumsum(rng.normal(0, 0.012, 60)))
    draw.line(list(zip(x, y, strict=True)), fill="crimson", width=8)
    for _ in range(6):
        left, top = rng.uniform(0.55, 0.85) * width, rng.uniform(0.6, 0.85) * height
        draw.ellipse((left, top, left + 0.1 * width, top + 0.1 * width), outline="navy", width=6)
    for line in range(8):
        words = " ".join(rng.permutation(WORDS)[:7])
        draw.text((0.05 * width, height * (0.6 + 0.045 * line)), words, fill="black", font=font)
    ramp = Image.linear_gradient("L").resize((int(0.35 * width), int(0.04 * height)))
    page.paste(ramp, (int(0.6 * width), int(0.05 * height)))
    return np.asarray(page.reduce(2))


def measure(made: list[np.ndarray], folder: Path, rounds: int, copies: int) -> list[Found]:
    """All formats of one sort: sizes of each picture once, rates of all copies."""
    megapixels = sum(pixels.shape[0] * pixels.shape[1] for pixels in made) / 1e6
    sizes: dict[str, tuple[Any, ...]] = {}
    lost: dict[str, tuple[float, float]] = {}
    readers: dict[Which, Callable[[], Any]] = {}
    for kind in KINDS:
        once = keep(encoded(made, kind), folder / kind.name)
        lost[kind.name] = fidelity(made, once["files"])
        many = keep(encoded(made, kind) * copies, folder / f"{kind.name}, copies")
        sizes[kind.name] = tuple(nbytes(path) / megapixels / 1e6 for path in once.values())
        readers[kind.name, "files"] = lambda many=many: drain(
            di.read_images(many["files"], recursive=False)
        )
        readers[kind.name, IN] = lambda many=many: drain(di.read_parquet(many[IN]))
    once, many = (folder / "PNG", folder / "PNG, copies")
    for name, write, read in ARRAYS:
        for source in (once, many):
            write(decoded(source, made[0].shape), source / name)
        sizes[name] = (nbytes(once / name) / megapixels / 1e6, None)
        readers[name, "files"] = lambda read=read, name=name: drain(read(many / name))
    taken = in_turn(readers, rounds)
    rates = {which: megapixels * copies / seconds for which, seconds in taken.items()}
    return [
        Found(name, *size, *lost.get(name, EXACT), rates[name, "files"], rates.get((name, IN)))
        for name, size in sizes.items()
    ]


def encoded(made: list[np.ndarray], kind: Kind) -> list[tuple[str, bytes]]:
    """What Pillow's writer makes of each, and its ending."""
    found = []
    for pixels in made:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind.format, **kind.options)
        found.append((kind.format.lower(), file.getvalue()))
    return found


def keep(files: list[tuple[str, bytes]], folder: Path) -> dict[str, Path]:
    """As files, and in Parquet."""
    folder.mkdir(parents=True)
    for number, (ending, data) in enumerate(files):
        (folder / f"{number:03d}.{ending}").write_bytes(data)
    kept = {"files": folder, IN: folder / IN}
    rows = di.read_images(folder, recursive=False)
    rows.assign(image=rows.image.img.read()).img.write_parquet(kept[IN])
    return kept


def decoded(folder: Path, shape: tuple[int, ...]) -> Any:
    rows = di.read_images(folder, recursive=False)
    return rows.assign(image=rows.image.img.decode("RGB").img.resize(*shape[:2]))


def nbytes(folder: Path) -> int:
    """Of the files there, not of what a writer notes beside them."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def drain(df: Any) -> int:
    """Decode every picture, and keep none."""
    if not df.image.dtype.holds_pixels:
        df = df.assign(image=df.image.img.decode("RGB"))
    return sum(len(batch["image"]) for batch in df[["image"]].img.iter_batches(4))


def in_turn(readers: dict[Which, Callable[[], Any]], rounds: int) -> dict[Which, float]:
    """The median seconds of each, after a first run."""
    taken: dict[Which, list[float]] = {name: [] for name in readers}
    for number in range(rounds + 1):
        for name, read in readers.items():
            start = time.perf_counter()
            read()
            if number:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def fidelity(made: list[np.ndarray], folder: Path) -> tuple[float, float]:
    """PSNR and SSIM, medians over the pictures, of what daskimg reads."""
    rows = di.read_images(folder, recursive=False)
    again = list(rows.image.img.decode("RGB").compute().img.to_numpy())
    pairs = list(zip(made, again, strict=True))
    if all(np.array_equal(first, second) for first, second in pairs):
        return EXACT
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    psnr = [peak_signal_noise_ratio(first, second) for first, second in pairs]
    ssim = [structural_similarity(first, second, channel_axis=2) for first, second in pairs]
    return float(np.median(psnr)), float(np.median(ssim))


def table(rows: list[Found]) -> str:
    headings = ["format", "bytes a pixel", "megapixels/s", "in Parquet", "megapixels/s"]
    lines = [[*headings, "PSNR", "SSIM"], ["---"] * 7]
    for row in rows:
        inside = "" if row.in_parquet is None else f"{row.in_parquet:.2f}"
        rate = "" if row.parquet_rate is None else f"{row.parquet_rate:.0f}"
        lost = "exact" if np.isinf(row.psnr) else f"{row.psnr:.1f} dB"
        cells = [row.kind, f"{row.size:.2f}", f"{row.rate:.0f}", inside, rate, lost]
        lines.append([*cells, f"{row.ssim:.3f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(found: dict[str, list[Found]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(10, 3.6), sharey=True)
    for axis, (sort, rows) in zip(axes, found.items(), strict=True):
        for number, row in enumerate(rows):
            color = plt.get_cmap("tab20")(number * 2 % 19)
            marker = "s" if np.isinf(row.psnr) else "o"
            axis.scatter(row.size, row.rate, color=color, marker=marker, s=60, label=row.kind)
        axis.set(xscale="log", yscale="log", title=sort, xlabel="bytes a pixel")
        axis.grid(which="both", linewidth=0.3)
    axes[0].set_ylabel("megapixels decoded a second")
    note = "squares: exact; circles: lossy"
    axes[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, title=note)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    with Image.open(path) as image:
        image.convert("RGB").quantize(64).save(path, optimize=True)


if __name__ == "__main__":
    main()
