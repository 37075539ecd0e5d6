"""Sales and picture quality of a shop, side by side.

Photographs, a sales table and a product catalogue are three Dask dataframes. The picture column
gives measures as any column gives numbers; then it is merge and groupby. Everything the report
shows comes from one `dask.compute`, so each picture is opened and decoded once.

    python examples/product_analytics.py                      # a small shop, made on the spot
    python examples/product_analytics.py --images photos/ --sales sales/ --catalogue shop.sqlite

**Catalogue**: SQLite (its one table, or the one named `products`) or CSV, with `product_id` and
`category`; `name` and `price` if there are any. Without one, a picture's folder is its product
and the folder above is its category. **Sales**: Parquet or CSV with `product_id`, `quantity`
and `revenue`; without it (or with `--sales demo`) sales are invented, and the report says so.
**Pictures** are joined by `product_id`, taken from their paths: `--partitioning` says how, for
example "{category}/{product_id:d}_{view}.jpg"; without it the folder or the file's name, up to
its last underscore, is matched with the catalogue.

The quality score of a picture runs from 0 to 100. It is the geometric mean of three parts, so
that one bad part is not made up for by the others:

    light     how far the mean luma is from black and from white
    contrast  the standard deviation of luma; 48 of 255 is plenty
    detail    the variance of the Laplacian; 150 is half way
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
from dask.diagnostics import ProgressBar
from demo_catalogue import PARTITIONING, make_sales, make_shop
from report import POOR, Results, in_words, write_report
from shop_tables import one_key, read_catalogue, read_sales

import daskimg as di

UNLISTED = "(not in the catalogue)"
#: Money is summed in whole millionths: integers add up to the same total in any order.
MILLIONTHS = 1_000_000
#: Below this standard deviation of luma a picture is one flat tone.
FLAT = 4.0
#: How far the logarithms of two shapes may differ: half-size copies are rounded.
ASPECT = 0.03


def measure(images: dd.DataFrame) -> dd.DataFrame:
    """One row a file: its size, its measures, its hashes, a thumbnail, or why it failed."""
    image = images["image"].img
    thumbnail = image.convert("RGB").img.resize(168, 168, fit="contain").img.encode("jpeg", 80)
    pictures = images.assign(
        format=image.format,
        height=image.height,
        width=image.width,
        brightness=image.brightness(),
        contrast=image.contrast(),
        sharpness=image.sharpness(),
        phash=image.hash("phash"),
        dhash=image.hash("dhash"),
        thumbnail=thumbnail.img.to_bytes(),
        reason=image.check(),
    )
    light = (pictures["brightness"] / 64).clip(upper=1)
    light = light * ((255 - pictures["brightness"]) / 32).clip(upper=1)
    pictures = pictures.assign(
        light=light,
        tone=(pictures["contrast"] / 48).clip(upper=1),
        detail=pictures["sharpness"] / (pictures["sharpness"] + 150),
    )
    quality = 100 * (pictures["light"] * pictures["tone"] * pictures["detail"]) ** (1 / 3)
    return pictures.assign(quality=quality).drop(columns="image")


def by_product(
    pictures: dd.DataFrame, catalogue: dd.DataFrame, sales: dd.DataFrame
) -> dd.DataFrame:
    """One row a product: the catalogue, what it sold, and how good its pictures are.

    Sales and pictures are each brought down to one row a product before they are joined:
    joined first, the sales of a product with three pictures would count three times. The joins
    are outer ones: a product without pictures, or sold but not listed, keeps its sales.
    """
    sold = sales.groupby("product_id", dropna=False)[["quantity", "money"]].sum().reset_index()
    shown = pictures.assign(readable=pictures["reason"].isna().astype("int64"))
    shown = shown.groupby("product_id").agg(
        files=("path", "count"),
        readable=("readable", "sum"),
        quality=("quality", "mean"),
        worst=("quality", "min"),
        quality_sum=("quality", "sum"),
        split_out=1,  # Dask 2026.8 loses the key of a named aggregation over many partitions
    )
    products = catalogue.merge(sold, on="product_id", how="outer")
    products = products.merge(shown.reset_index(), on="product_id", how="outer")
    counts = ["quantity", "money", "files", "readable", "quality_sum"]
    products = products.assign(
        category=products["category"].fillna(UNLISTED),
        name=products["name"].fillna(products["product_id"].astype("string")).fillna("(unnamed)"),
        **{name: products[name].fillna(0) for name in counts},
    )
    poor = products["worst"].isna() | (products["worst"] < POOR)  # as in "Fix these first"
    return products.assign(at_risk=products["money"].where(poor, 0))


def by_category(products: dd.DataFrame) -> dd.DataFrame:
    """One row a category: sales beside picture quality."""
    sums = ["quantity", "money", "at_risk", "files", "readable", "quality_sum"]
    totals = products.assign(products=1).groupby("category")[["products", *sums]].sum()
    return totals.assign(quality=totals["quality_sum"] / totals["readable"]).reset_index()


def analyse(
    images: dd.DataFrame, catalogue: dd.DataFrame, sales: dd.DataFrame, root: str
) -> Results:
    """All of it, in one pass over the pictures."""
    images, catalogue, sales = one_key(images, catalogue, sales)
    money = (sales["revenue"].astype("float64").fillna(0) * MILLIONTHS).round().astype("int64")
    sales = sales.assign(quantity=sales["quantity"].fillna(0).astype("int64"), money=money)
    pictures = measure(images)
    products = by_product(pictures, catalogue, sales)
    with ProgressBar():
        seen, listed, grouped, quantity, total = dask.compute(
            pictures, products, by_category(products), sales["quantity"].sum(), money.sum()
        )
    if not listed["money"].sum() == grouped["money"].sum() == total:
        raise AssertionError("the report's sales differ from the sales table's")
    base = folder_of(root)
    seen = seen.assign(
        file=seen["path"].str.removeprefix(base),
        reason=seen["reason"].map(in_words, na_action="ignore").astype("string"),
        error=seen["reason"].str.replace(base, "", regex=False),
    )
    return Results(
        seen,
        in_units(listed),
        in_units(grouped),
        look_alikes(seen),
        int(quantity),
        total / MILLIONTHS,
    )


def look_alikes(pictures: pd.DataFrame) -> pd.DataFrame:
    """Pairs of files that show one photograph, and the products they are of; closest first.

    Hashes within 4 bits (phash) and 8 (dhash), of pictures of one shape. A flat picture has no
    shape that a hash could tell.
    """
    told = pictures[pictures["contrast"] > FLAT].set_index("file")
    pairs = told.reset_index().img.near_duplicates(hash="phash", confirm="dhash", key="file")
    sides = [told.loc[pairs[side]] for side in ("left", "right")]
    shape = [np.log(side["width"].to_numpy(float) / side["height"]) for side in sides]
    ids = [side["product_id"].astype("string").fillna("").to_numpy(object) for side in sides]
    pairs = pairs.assign(
        product_a=sides[0]["product_id"].array,
        product_b=sides[1]["product_id"].array,
        same_product=ids[0] == ids[1],
        dhash_distance=np.bitwise_count(
            sides[0]["dhash"].to_numpy(np.uint64) ^ sides[1]["dhash"].to_numpy(np.uint64)
        ).astype(np.int64),
    )
    pairs = pairs[np.abs(shape[0].to_numpy() - shape[1].to_numpy()) <= ASPECT]
    names = {"left": "file_a", "right": "file_b", "distance": "phash_distance"}
    order = ["phash_distance", "dhash_distance", "file_a", "file_b"]
    return pairs.rename(columns=names).sort_values(order, ignore_index=True)


def in_units(table: pd.DataFrame) -> pd.DataFrame:
    """Counts as integers, money as revenue, the largest first."""
    counts = {name: table[name].astype("int64") for name in ("quantity", "files")}
    table = table.assign(
        **counts,
        broken=(table["files"] - table["readable"]).astype("int64"),
        revenue=table["money"] / MILLIONTHS,
        at_risk=table["at_risk"] / MILLIONTHS,
    )
    first = [
        "product_id",
        "name",
        "category",
        "price",
        "products",
        "quantity",
        "revenue",
        "quality",
    ]
    order = [*first, "worst", "files", "broken", "at_risk"]
    table = table[[column for column in order if column in table]]
    return table.sort_values("revenue", ascending=False, kind="stable", ignore_index=True)


def folder_of(root: str) -> str:
    """What all paths below `root` begin with: the report tells files without it."""
    base = root.split("*")[0].rpartition("/")[0] if "*" in root else root
    base = base if "://" in base else os.path.abspath(base)
    return base.rstrip("/") + "/"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", help="folder or glob of pictures (default: a made-up shop)")
    parser.add_argument("--sales", help="Parquet or CSV of sales; 'demo' invents them")
    parser.add_argument("--catalogue", help="SQLite or CSV of products")
    parser.add_argument("--partitioning", help="how a path names its product_id, a template")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-report"),
        help="folder of the report (default: demo-report)",
    )
    options = parser.parse_args(arguments)
    try:
        run(options.images, options.sales, options.catalogue, options.partitioning, options.output)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(
    root: str | None,
    sold: str | None,
    listed: str | None,
    partitioning: str | None,
    output: Path,
) -> None:
    began = time.perf_counter()
    if root is None:
        shop = make_shop(output / "shop")
        print(f"made a small shop in {output / 'shop'}")
        root, partitioning = str(shop.images), PARTITIONING
        sold, listed = sold or str(shop.sales), listed or str(shop.catalogue)
    images = di.read_images(root, partitioning=partitioning, on_error="null")
    if partitioning is not None and "product_id" not in images:
        raise ValueError(f"--partitioning {partitioning!r} has no {{product_id}}")
    catalogue = read_catalogue(listed, images)
    invented = sold is None or sold == "demo"
    if invented:
        sold = str(invent_sales(catalogue, output / "demo-sales"))
        print(f"no sales given: invented some in {sold}")
    results = analyse(images, catalogue, read_sales(str(sold)), root)
    broken = int(results.pictures["reason"].notna().sum())
    note = (
        f"{len(results.pictures):,} files of {len(results.products):,} products. "
        + ("The sales are invented for this demonstration. " if invented else "")
        + f"All categories together sold {results.revenue:,.2f}, as the sales table says."
    )
    written = write_report(output, results, note)
    print(
        f"{len(results.pictures):,} files: {len(results.pictures) - broken:,} pictures read, "
        f"{broken:,} broken"
    )
    print(f"{len(results.near_duplicates):,} near-duplicate pairs")
    print(
        f"{results.revenue:,.2f} revenue, {results.quantity:,} units, "
        f"{len(results.products):,} products in {len(results.categories):,} categories"
    )
    print(f"{time.perf_counter() - began:.1f} s; wrote")
    for path in written:
        print(f"  {path}")


def invent_sales(catalogue: dd.DataFrame, folder: Path) -> Path:
    """Sales for a catalogue that came without, and prices where it has none."""
    products = catalogue[["product_id", "price"]].compute()
    return make_sales(zip(products["product_id"], products["price"], strict=True), folder)


if __name__ == "__main__":
    sys.exit(main())
