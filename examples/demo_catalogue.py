"""A small shop to try things on: photographs, a catalogue and a sales table.

The pictures are cut from the photographs inside scikit-image's wheel, so nothing is fetched.
They come as a shop's pictures do: JPEG, PNG and WebP of many sizes, some on their side with an
EXIF note, some dark, one the same photograph saved twice, and four files that are broken, each
in its own way. Every call writes the same pixels and the same numbers.
"""

from __future__ import annotations

import hashlib
import io
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

#: How a picture's path tells which product it shows.
PARTITIONING = "{folder}/{product_id:d}_{view}.{extension}"
STORES = ("Amsterdam", "Bergen", "Cadiz", "Online")
FIRST_DAY, DAYS = "2025-01-01", 90


class View(NamedTuple):
    """One picture: a box of a photograph (None: all of it), an edit, and how it is saved."""

    photo: str
    box: tuple[int, int, int, int] | None = None
    extension: str = "jpg"
    edit: str = ""


class Product(NamedTuple):
    product_id: int
    name: str
    category: str
    price: float
    popularity: float
    views: tuple[View, ...]


class Shop(NamedTuple):
    """Where the three parts of the shop lie."""

    images: Path
    sales: Path
    catalogue: Path


CUP, CAT, CREW = "coffee.png", "chelsea.png", "astronaut.png"
SKY, PAD, BIKE = "hubble_deep_field.jpg", "rocket.jpg", "motorcycle_left.png"

PRODUCTS = (
    Product(101, "Espresso cup", "Kitchen", 6.90, 3.0, (
        View(CUP), View(CUP, (170, 0, 440, 225), "webp"), View(CUP, edit="quality 50"))),
    Product(102, "Teaspoon", "Kitchen", 2.50, 2.2, (View(CUP, (300, 205, 430, 335)),)),
    Product(201, "Oak table top", "Home", 189.00, 0.15, (View(CUP, (480, 230, 600, 400), "png"),)),
    Product(202, "Wall clock", "Home", 39.00, 1.6, (View("clock_motion.png"),)),
    Product(301, "Cat calendar", "Prints", 14.90, 2.0, (
        View(CAT, None, "png"), View(CAT, (130, 20, 370, 200), edit="on its side"),
        View(CAT, (215, 130, 340, 290), "webp"))),
    Product(302, "Astronaut poster", "Prints", 19.90, 1.4, (
        View(CREW, None, "png"), View(CREW, (140, 0, 310, 170)), View(CREW, edit="cut short"))),
    Product(303, "Rocket poster", "Prints", 19.90, 1.1, (
        View(PAD), View(PAD, (230, 90, 430, 427), "webp"),
        View(PAD, (250, 0, 640, 427), edit="on its side"))),
    Product(304, "Moon print", "Prints", 17.50, 0.7, (View("moon.png", None, "png"),)),
    Product(305, "Deep field print", "Prints", 22.00, 0.9, (
        View(SKY), View(SKY, (420, 380, 820, 780), "png"), View(SKY, edit="half size"))),
    Product(401, "Terracotta brick", "Garden", 0.85, 9.0, (View("brick.png", edit="terracotta"),)),
    Product(402, "Lawn turf, 1 m²", "Garden", 4.20, 4.0, (
        View("grass.png", edit="green"), View("grass.png", (0, 0, 300, 200), "webp", "green"),
        View("grass.png", None, "png", "empty"))),
    Product(403, "Gravel, 20 kg", "Garden", 7.50, 0.0, (View("gravel.png", edit="sand"),)),
    Product(501, "Motorcycle", "Workshop", 2490.00, 0.03, (
        View(BIKE), View(BIKE, (250, 190, 520, 400), "webp"),
        View("motorcycle_right.png", (60, 60, 330, 450), edit="dim"))),
    Product(502, "Front wheel", "Workshop", 149.00, 0.4, (View(BIKE, edit="web page"),)),
    Product(503, "Tool shelf", "Workshop", 89.00, 0.5, (View(BIKE, (480, 0, 741, 220), "png"),)),
    Product(601, "Space helmet", "Collectors", 349.00, 0.35, (
        View(CREW, (250, 340, 470, 512)), View(CREW, (240, 350, 350, 480), "webp"),
        View(CREW, (200, 300, 512, 512), edit="dim"))),
    Product(602, "Shuttle model", "Collectors", 59.00, 0.8, (
        View(CREW, (330, 0, 512, 330), "png"),)),
    Product(603, "Coin collection", "Collectors", 129.00, 0.3, (
        View("coins.png", None, "png"), View("coins.png", (0, 150, 384, 235)),
        View("coins.png", None, "png", "damaged"))),
    Product(604, "Silver coin", "Collectors", 35.00, 0.6, (View("coins.png", (310, 10, 384, 84)),)),
    Product(605, "Film camera", "Collectors", 420.00, 0.12, (
        View("camera.png"), View("camera.png", (150, 60, 330, 240), "png"),
        View("camera.png", (180, 90, 400, 512), "webp"))),
    Product(701, "Gift card", "Gifts", 25.00, 1.8, ()),
)  # fmt: skip


def make_shop(folder: str | Path) -> Shop:
    """Write the shop below `folder`: `pictures/`, `sales/` (Parquet) and `catalogue.sqlite`.

    Examples
    --------
    >>> import tempfile
    >>> shop = make_shop(tempfile.mkdtemp())
    >>> sum(1 for p in shop.images.rglob("*") if p.is_file())
    40
    """
    folder = Path(folder)
    shop = Shop(folder / "pictures", folder / "sales", folder / "catalogue.sqlite")
    for product in PRODUCTS:
        for number, view in enumerate(product.views, start=1):
            name = f"{product.product_id}_{number}.{view.extension}"
            path = shop.images / product.category.lower() / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(view))
    catalogue = pd.DataFrame(PRODUCTS)[["product_id", "name", "category", "price"]]
    with closing(sqlite3.connect(shop.catalogue)) as database:
        catalogue.to_sql("products", database, index=False, if_exists="replace")
    make_sales(((p.product_id, p.price, p.popularity) for p in PRODUCTS), shop.sales)
    return shop


def make_sales(products: Iterable[tuple[object, ...]], folder: str | Path) -> Path:
    """Invent a season of sales for `(product_id, price[, units a day])`: a Parquet file a month.

    The draws of a product hang on its id alone, so they do not change with the other products.
    A price that is not known is drawn too.
    """
    days = pd.date_range(FIRST_DAY, periods=DAYS)
    season = []
    for product_id, price, *popularity in products:
        key = hashlib.blake2b(str(product_id).encode(), digest_size=8).digest()
        random = np.random.default_rng(int.from_bytes(key, "big"))
        price = random.lognormal(1.2, 0.5) if pd.isna(price) else price
        units = popularity[0] if popularity else max(0.02, random.lognormal(1.5, 0.8) / price)
        weekend = np.where(days.day_of_week >= 5, 1.6, 1.0)[:, None]
        share = random.dirichlet(np.full(len(STORES), 4.0))[None, :]
        quantity = random.poisson(units * len(STORES) * share * weekend)
        discount = random.choice([1.0, 0.9, 0.75], p=[0.8, 0.15, 0.05], size=(DAYS, 1))
        cents = np.rint(quantity * np.rint(price * 100 * discount)).astype(np.int64)
        day, store = np.nonzero(quantity)
        season.append(
            pd.DataFrame(
                {
                    "product_id": [product_id] * len(day),
                    "date": days[day],
                    "store": np.array(STORES)[store],
                    "quantity": quantity[day, store],
                    "revenue": cents[day, store] / 100,
                }
            )
        )
    sales = pd.concat([s for s in season if len(s)], ignore_index=True)
    sales = sales.sort_values(["date", "store"], kind="stable", ignore_index=True)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("sales-*.parquet"):
        stale.unlink()
    for month, rows in sales.groupby(sales["date"].dt.strftime("%Y-%m")):
        rows.to_parquet(folder / f"sales-{month}.parquet", index=False)
    return folder


def picture(view: View) -> bytes:
    """The file of one view, whole or broken."""
    image = photograph(view.photo)
    if view.box is not None:
        image = image.crop(view.box)
    if view.edit in EDITS:
        image = EDITS[view.edit](image)
    exif = Image.Exif()
    if view.edit == "on its side":  # saved turned; orientation 6 tells the reader to turn it back
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6
    buffer = io.BytesIO()
    quality = 50 if view.edit == "quality 50" else 92
    image.save(
        buffer, Image.registered_extensions()[f".{view.extension}"], quality=quality, exif=exif
    )
    return BREAKS.get(view.edit, bytes)(buffer.getvalue())


def photograph(name: str) -> Image.Image:
    """A photograph of scikit-image's wheel, found without importing scikit-image."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the demo's photographs come with scikit-image: pip install scikit-image"
        )
    with Image.open(Path(spec.submodule_search_locations[0], "data", name)) as image:
        return image.convert("L" if image.mode == "L" else "RGB")


def half_size(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def dim(image: Image.Image) -> Image.Image:
    blurred = image.filter(ImageFilter.GaussianBlur(2.5))
    return ImageEnhance.Brightness(blurred).enhance(0.35)


def tint(dark: str, light: str) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageOps.colorize(image, dark, light)


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size": half_size,
    "dim": dim,
    "green": tint("#10240a", "#d9e8a0"),
    "terracotta": tint("#3a120a", "#f0c8a8"),
    "sand": tint("#2b2418", "#efe3c8"),
}
BREAKS: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda data: data[: len(data) // 2],  # an upload that stopped
    "empty": lambda data: b"",
    "web page": lambda data: b"<!doctype html><title>404</title><p>Picture not found.",
    "damaged": lambda data: data[:2000] + bytes(200) + data[2200:],  # a bad disk block
}
