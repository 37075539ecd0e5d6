"""A small shop of real photographs to run the guide on, and what Pillow says of pictures.

Nothing is fetched: the photographs are those inside scikit-image's wheel, at half their size.
Nothing here uses daskimg: the guide's programs are compared with it.
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster
from PIL import Image

#: product, category, price, and its photographs in scikit-image
PRODUCTS = [
    (1, "cat mug", "kitchen", 12.5, ["cat", "coffee"]),
    (2, "coin set", "kitchen", 129.0, ["coins"]),
    (3, "space suit", "toys", 89.0, ["astronaut", "rocket"]),
    (4, "old camera", "toys", 420.0, ["camera"]),
    (5, "gift card", "toys", 25.0, []),
]


def pictures(folder: str | Path = "shop", broken: bool = False) -> str:
    """Folders `kitchen` and `toys` of files `{product_id}_{n}.jpg` and `.png`; and, if asked for,
    one file that is no picture."""
    from skimage import data

    for product, _, category, _, names in PRODUCTS:
        into = Path(folder, category)
        into.mkdir(parents=True, exist_ok=True)
        for n, name in enumerate(names, start=1):
            photograph = Image.fromarray(getattr(data, name)())
            photograph = photograph.resize((photograph.width // 2, photograph.height // 2))
            ending = "png" if photograph.mode == "L" else "jpg"
            photograph.save(into / f"{product}_{n}.{ending}")
    if broken:
        Path(folder, "toys", "5_1.jpg").write_bytes(b"this is no picture")
    return str(folder)


def catalogue(path: str = "shop.db") -> str:
    """A table `products` in SQLite; its URL."""
    columns = ["product_id", "name", "category", "price"]
    with sqlite3.connect(path) as connection:
        table = pd.DataFrame([product[:4] for product in PRODUCTS], columns=columns)
        table.to_sql("products", connection, index=False, if_exists="replace")
    connection.close()
    return f"sqlite:///{path}"


def sales(folder: str = "sales") -> str:
    """A hundred sales of the products, as Parquet."""
    Path(folder).mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "product_id": draw.integers(1, len(PRODUCTS) + 1, 100),
            "sales_amount": draw.uniform(5, 500, 100).round(2),
        }
    )
    table.to_parquet(f"{folder}/2026.parquet", index=False)
    return folder


def opened(url: str, mode: str | None = None) -> dict[str, np.ndarray]:
    """Name below `url` -> pixels as Pillow decodes them, of all pictures; by name."""
    fs, root = fsspec.url_to_fs(url)
    found = {}
    for path in sorted(fs.find(root)):
        try:
            picture = Image.open(io.BytesIO(fs.cat_file(path)))
            picture = picture.convert(mode or picture.mode)
        except OSError:
            continue
        found[path.removeprefix(root.rstrip("/") + "/")] = np.asarray(picture)
    return found


def square(pixels: np.ndarray, side: int) -> np.ndarray:
    """A picture stretched to `side` x `side`, as Pillow does it."""
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether pictures differ by a grey level at most, in the mean: as much as a JPEG decoded at
    reduced scale may differ from one that is decoded in full and made small then."""
    return one.shape == other.shape and bool(np.abs(one.astype(float) - other).mean() <= 1)


@contextmanager
def workers(gpus: int = 1) -> Iterator[Client]:
    """A cluster of as many workers, each of which offers one GPU, be there one or not: threads of
    this process, so that the guide runs anywhere. For real ones: `di.start_cluster()`."""
    with (
        LocalCluster(
            n_workers=gpus,
            threads_per_worker=1,
            processes=False,
            resources={"GPU": 1},
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
