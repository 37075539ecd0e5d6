"""The job's inputs as Dask dataframes that agree on what a `product_id` is."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import dask.dataframe as dd
import pandas as pd

import daskimg as di

#: Where a path may say which product it shows: its folder, or its name up to the last "_".
IN_PATH = {"folder": r"([^/]+)/[^/]+$", "file name": r"([^/]+?)(?:_[^/_]*)?\.[^./]+$"}
#: The columns of the Grocery Store Dataset's classes.csv (Klasson et al., 2019).
ALIASES = {"class name (str)": "product_id", "coarse class name (str)": "category"}


def read_catalogue(where: str | None, images: dd.DataFrame) -> dd.DataFrame:
    """`product_id`, `name`, `category` and `price`, one row a product.

    `where` is a CSV file, an SQLite file or an SQLAlchemy URL; None makes a catalogue of the
    pictures' folders.
    """
    if where is None:
        catalogue = folders_as_catalogue(images)
    elif "://" in where:
        catalogue = di.read_sql("products", where)
    elif not Path(where).is_file():
        raise FileNotFoundError(f"no catalogue at {where!r}: give an SQLite or a CSV file")
    elif where.lower().endswith(".csv"):
        catalogue = dd.read_csv(where)
    else:
        catalogue = di.read_sql(only_table(where), f"sqlite:///{where}")
    names = {name: ALIASES.get(name.lower(), name.lower()) for name in catalogue.columns}
    catalogue = catalogue.rename(columns=names)
    require(catalogue, ["product_id", "category"], f"the catalogue {where}")
    if "name" not in catalogue:
        words = catalogue["product_id"].astype("string").str.replace("-", " ", regex=False)
        catalogue = catalogue.assign(name=words)
    if "price" not in catalogue:
        catalogue = catalogue.assign(price=float("nan"))
    catalogue = catalogue[["product_id", "name", "category", "price"]]
    return catalogue.drop_duplicates("product_id")  # twice in the catalogue is sold once


def only_table(database: str) -> str:
    """The table of an SQLite file that holds the products."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = [name for (name,) in connection.execute(query)]
    if len(tables) == 1:
        return tables[0]
    if "products" in tables:
        return "products"
    raise ValueError(f"{database} has tables {tables}: expected one, or one named 'products'")


def folders_as_catalogue(images: dd.DataFrame) -> dd.DataFrame:
    """A picture's folder is its product, the folder above is its category."""
    parts = images["path"].compute().str.extract(r"(?:([^/]+)/)?([^/]+)/[^/]+$")
    catalogue = pd.DataFrame({"product_id": parts[1], "category": parts[0].fillna("all")})
    catalogue = catalogue.dropna(subset="product_id").drop_duplicates("product_id")
    return dd.from_pandas(catalogue.reset_index(drop=True), npartitions=1)


def read_sales(where: str) -> dd.DataFrame:
    """`product_id`, `quantity` and `revenue` of every sale, from Parquet or CSV."""
    if not Path(where).exists() and "://" not in where:
        raise FileNotFoundError(f"no sales at {where!r}: give a Parquet file, folder or a CSV")
    sales = dd.read_csv(where) if where.lower().endswith(".csv") else dd.read_parquet(where)
    require(sales, ["product_id", "quantity", "revenue"], f"the sales {where}")
    return sales


def require(frame: dd.DataFrame, columns: list[str], what: str) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ValueError(f"{what}: no column {', '.join(missing)} among {list(frame.columns)}")


def one_key(
    images: dd.DataFrame, catalogue: dd.DataFrame, sales: dd.DataFrame
) -> tuple[dd.DataFrame, dd.DataFrame, dd.DataFrame]:
    """The three tables with a `product_id` of one dtype: Int64 if it is a number, else text."""
    if "product_id" not in images:
        images = images.assign(product_id=product_in_path(images, catalogue))
    dtypes = (catalogue["product_id"].dtype, sales["product_id"].dtype)
    if not all(pd.api.types.is_numeric_dtype(dtype) for dtype in dtypes):
        frames = (images, catalogue, sales)
        images, catalogue, sales = (
            f.assign(product_id=f["product_id"].astype("string")) for f in frames
        )
        return images, catalogue, sales
    named = dd.to_numeric(images["product_id"], errors="coerce")  # a path may name no product
    return (
        images.assign(product_id=named.astype("Int64")),
        catalogue.assign(product_id=catalogue["product_id"].astype("Int64")),
        sales.assign(product_id=sales["product_id"].astype("Int64")),
    )


def product_in_path(images: dd.DataFrame, catalogue: dd.DataFrame) -> dd.Series:
    """The part of the path that names products of the catalogue: the folder or the file name."""
    listed = set(catalogue["product_id"].astype("string").compute())
    paths = images["path"].compute()
    hits = {
        where: paths.str.extract(pattern, expand=False).isin(listed).sum()
        for where, pattern in IN_PATH.items()
    }
    best = max(hits, key=lambda where: hits[where])
    if not hits[best]:
        raise ValueError(
            f"no picture's folder or file name is a product of the catalogue ({paths.iloc[0]}; "
            f"{sorted(listed)[:3]}...): tell how a path names its product with --partitioning, "
            'for example "{category}/{product_id}_{view}.jpg"'
        )
    return images["path"].str.extract(IN_PATH[best], expand=False)
