"""Tables from a real SQLite file."""

from __future__ import annotations

import sqlite3

import pandas as pd
import pytest
import sqlalchemy as sa

import daskimg as di
from daskimg.io.sql import Query
from daskimg.testing import make_images

PRODUCTS = pd.DataFrame(
    {
        "id": range(1, 21),
        "name": [f"product {n}; drop table x--'" for n in range(20)],
        "price": [n * 1.5 for n in range(20)],
        "stock": [n if n % 7 else None for n in range(20)],
        "order": [n % 3 for n in range(20)],
    }
)


@pytest.fixture
def shop(tmp_path):
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    PRODUCTS.to_sql("product", sa.create_engine(url), index=False)
    return url


def test_a_table(shop):
    df = di.read_sql("product", shop)
    got = df.compute()
    assert df.dtypes.tolist() == got.dtypes.tolist()
    assert str(df.dtypes["name"]) == "string"
    pd.testing.assert_frame_equal(got, PRODUCTS, check_dtype=False)


def test_a_select_binds_its_parameters(shop):
    hostile = PRODUCTS["name"][3]
    df = di.read_sql(
        "select id, price from product where name = :name;", shop, params={"name": hostile}
    )
    assert df.compute().values.tolist() == [[4, 4.5]]


def test_ranges_of_an_index(shop):
    df = di.read_sql("product", shop, index_col="id", npartitions=4)
    assert df.npartitions == 4
    assert df.known_divisions
    assert df.compute().index.tolist() == PRODUCTS["id"].tolist()
    assert len(df.loc[5:8].compute()) == 4


def test_split_without_an_index(shop):
    assert len(di.read_sql("product", shop, npartitions=3)) == 20


def test_engine_path_and_swapped_arguments(shop, tmp_path):
    assert len(di.read_sql("product", sa.create_engine(shop))) == 20
    assert len(di.read_sql("product", str(tmp_path / "shop.db"))) == 20
    assert len(di.read_sql(shop, "product")) == 20


def test_nulls_further_down_do_not_change_the_dtype(tmp_path):
    url = f"sqlite:///{tmp_path / 'late.db'}"
    late = pd.DataFrame({"n": pd.array([*range(150), None], "Int64")})
    late.to_sql("late", sa.create_engine(url), index=False)
    df = di.read_sql("late", url)
    assert df.dtypes["n"] == df.compute()["n"].dtype == "float64"


def test_an_empty_table(tmp_path):
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    PRODUCTS.iloc[:0].to_sql("product", sa.create_engine(url), index=False)
    assert len(di.read_sql("product", url).compute()) == 0
    assert len(di.read_sql("product", url, index_col="id", npartitions=3).compute()) == 0


def test_joined_with_pictures_in_one_frame(shop, tmp_path):
    files = make_images(tmp_path / "pictures", 6)
    df = di.read_images(files).assign(id=lambda d: d.index + 1)
    joined = df.merge(di.read_sql("product", shop), on="id")
    got = joined.assign(light=joined.image.img.brightness())[["id", "price", "light"]].compute()
    assert sorted(got["id"]) == [1, 2, 3, 4, 5, 6]
    assert got["light"].notna().all()


@pytest.mark.parametrize(
    ("sql", "con", "error", "words"),
    [
        ("nope", None, ValueError, "no such table: nope"),
        ("select * from product", 3, TypeError, "URL or engine; got int"),
        ("select * from product", "shop", ValueError, "SQLAlchemy URL such as"),
        (7, 8, TypeError, "a SELECT or a table's name"),
    ],
)
def test_bad_input(shop, sql, con, error, words):
    with pytest.raises(error, match=words):
        di.read_sql(sql, shop if con is None else con)


def test_no_password_is_shown(shop):
    query = Query(sa.make_url("postgresql://bob:hunter2@localhost/x"), "t", None)
    assert "hunter2" not in repr(query)
    assert "hunter2" not in repr(query.__dask_tokenize__())


# -- statements and numbers as people write them ------------------------------------------------
@pytest.fixture
def prices(tmp_path):
    """A column that SQLite stores as whole numbers until the first fraction; large keys."""
    with sqlite3.connect(tmp_path / "prices.db") as db:
        db.execute("create table price (key integer, price numeric, pieces integer)")
        rows = [(2**62 + n, 5 if n < 150 else 3.7, n) for n in range(200)]
        db.executemany("insert into price values (?, ?, ?)", rows)
    return tmp_path / "prices.db"


def test_a_fraction_after_many_whole_numbers_is_kept(prices):
    found = di.read_sql("price", str(prices))
    assert found.dtypes.astype(str).to_dict() == {
        "key": "int64",
        "price": "float64",
        "pieces": "int64",
    }
    assert found.price.compute().tolist() == [5.0] * 150 + [3.7] * 50
    assert found["key"].compute().tolist() == [2**62 + n for n in range(200)]


@pytest.mark.parametrize("parts", [1, 3, 7, 300])
def test_ranges_of_large_whole_numbers_are_exact(prices, parts):
    found = di.read_sql("price", str(prices), index_col="key", npartitions=parts)
    assert list(found.divisions) == sorted({*found.divisions})
    assert found.divisions[0] == 2**62
    assert found.npartitions == min(parts, 199)
    assert found.compute().index.tolist() == [2**62 + n for n in range(200)]


@pytest.mark.parametrize(
    "statement",
    [
        "select\tpieces\tfrom\tprice",
        "select\rpieces from price",
        "select pieces from price -- all of them",
        "select pieces from price\n-- all of them\n",
        "select pieces from price /* all */;",
    ],
)
def test_statements_with_tabs_and_comments(prices, statement):
    assert di.read_sql(statement, str(prices)).pieces.compute().tolist() == [*range(200)]
