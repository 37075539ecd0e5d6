"""Product pictures, sales and a catalogue: one table by category for business intelligence.

python examples/guide/multimodal.py [SALES] [DATABASE] [PICTURES] [CSV]

Any of them may be on a store (s3://...), the database PostgreSQL (postgresql+psycopg://...).
"""

import sys

import dask.dataframe as dd
import fsspec
import made
import numpy as np
import pandas as pd
import sqlalchemy

import daskimg as di


def multimodal_product_analytics(sales, database, pictures, target):
    sales_data = dd.read_parquet(sales)
    product_catalog = di.read_sql(
        "SELECT product_id, name, category, price FROM products", database
    )
    images = di.read_images(
        pictures, partitioning="{**}/{product_id:d}_{n:d}.{ending}", on_error="null"
    )
    image = images.image.img
    images = images.assign(
        brightness=image.mean(), contrast=image.std(), resolution=image.height * image.width
    )
    images = images.assign(quality_score=images.brightness * images.contrast / 1000)
    metrics = images.groupby("product_id")[["quality_score", "brightness", "resolution"]].mean()
    comprehensive_data = sales_data.merge(product_catalog, on="product_id").merge(
        metrics.reset_index(), on="product_id", how="left"
    )
    analytics = comprehensive_data.groupby("category").agg(
        sales_amount=("sales_amount", "sum"),
        sales=("product_id", "count"),
        quality_score=("quality_score", "mean"),
        brightness=("brightness", "mean"),
    )
    analytics.reset_index().img.write_csv(target)


def main(sales=None, database=None, pictures=None, target="multimodal-product-analytics.csv"):
    sales, database = sales or made.sales(), database or made.catalogue()
    pictures = pictures or made.pictures(broken=True)
    multimodal_product_analytics(sales, database, pictures, target)
    with fsspec.open(target) as file:
        found = pd.read_csv(file).set_index("category").sort_index()

    measured = pd.DataFrame(
        [
            (int(name.rpartition("/")[2].partition("_")[0]), pixels.mean(), pixels.std())
            for name, pixels in made.opened(pictures).items()
        ],
        columns=["product_id", "brightness", "contrast"],
    )
    measured["quality_score"] = measured.brightness * measured.contrast / 1000
    products = pd.read_sql_table("products", sqlalchemy.create_engine(database))
    table = pd.read_parquet(sales).merge(products)
    table = table.merge(measured.groupby("product_id").mean().reset_index(), how="left")
    by_category = table.groupby("category")
    assert list(found.index) == ["kitchen", "toys"]
    assert np.allclose(found.sales_amount, by_category.sales_amount.sum())
    assert (found.sales == by_category.product_id.count()).all()
    assert np.allclose(found.quality_score, by_category.quality_score.mean())
    assert np.allclose(found.brightness, by_category.brightness.mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
