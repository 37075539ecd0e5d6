"""Tables from a PostgreSQL server that runs for these tests alone."""

from __future__ import annotations

import datetime
import decimal
import pickle
import secrets
import traceback
from pathlib import Path

import dask
import pandas as pd
import pytest
import sqlalchemy as sa

import daskimg as di
from daskimg.testing import make_images
from tests.servers import postgres
from tests.versions import PANDAS

pytest.importorskip("psycopg")

ROWS = 300
PASSWORD = f"p@ss/w%rd-{secrets.token_hex(8)}"
TABLE = """
create table shop.product (
    id integer primary key,
    name text,
    price numeric(8, 2),
    added date,
    seen timestamp,
    stock integer,
    sold boolean,
    late integer,
    picture bytea
)
"""


@pytest.fixture(scope="module")
def server():
    with postgres(PASSWORD) as url:
        yield url


@pytest.fixture(scope="module")
def shop(server, tmp_path_factory):
    """The URL of a database with a table, as a string."""
    made = make_images(tmp_path_factory.mktemp("pictures"), 3, size=(6, 9))
    pictures = [Path(path).read_bytes() for path in made]
    engine = sa.create_engine(server)
    day = datetime.date(2024, 2, 27)
    rows = [
        {
            "id": n,
            "name": f"product {n}; drop table x--'" if n % 5 else None,
            "price": decimal.Decimal(n) / 4 if n % 3 else None,
            "added": day + datetime.timedelta(days=n),
            "seen": datetime.datetime(2024, 1, 1, 12) + datetime.timedelta(hours=n),
            "stock": n if n % 7 else None,
            "sold": n % 2 == 0,
            "late": n if n > 200 else None,
            "picture": pictures[n % 3],
        }
        for n in range(ROWS)
    ]
    names = ", ".join(f":{name}" for name in rows[0])
    with engine.begin() as con:
        con.execute(sa.text("create schema shop"))
        con.execute(sa.text(TABLE))
        con.execute(sa.text(f"insert into shop.product values ({names})"), rows)
    engine.dispose()
    return server.render_as_string(hide_password=False)


def test_a_table_of_every_kind(shop):
    df = di.read_sql("shop.product", shop)
    got = df.compute()
    assert df.dtypes.tolist() == got.dtypes.tolist()
    assert df.dtypes.astype(str).to_dict() == {
        "id": "int64",
        "name": "string",
        "price": "float64",
        "added": "object",
        "seen": "datetime64[us]" if PANDAS >= 3 else "datetime64[ns]",
        "stock": "float64",
        "sold": "bool",
        "late": "float64",
        "picture": "large_binary[pyarrow]",
    }
    got = got.set_index("id").sort_index()
    assert got.price[7] == 1.75
    assert got.added[2] == datetime.date(2024, 2, 29)
    assert got.seen[1] == pd.Timestamp("2024-01-01 13:00")
    assert got.name[4] == "product 4; drop table x--'"
    nulls = got.isna().sum().to_dict()
    assert [nulls[name] for name in ("name", "price", "stock", "late")] == [60, 100, 43, 201]


def test_pictures_of_a_table(shop):
    df = di.read_sql("select id, picture from shop.product where id < 10", shop)
    df = df.assign(picture=df.picture.astype("image[encoded]"))
    assert df.picture.img.width.compute().tolist() == [9] * 10
    assert df.picture.img.brightness().compute().between(0, 255).all()


def test_parameters_are_bound(shop):
    query = "select id from shop.product where name = :name or added >= :day order by id"
    params = {"name": "product 4; drop table x--'", "day": datetime.date(2024, 12, 20)}
    found = di.read_sql(query, shop, params=params).id.compute()
    assert found.tolist() == [4, *range(297, 300)]


@pytest.mark.parametrize(
    "index_col, low, high",
    [
        ("id", 3, 9),
        ("seen", pd.Timestamp("2024-01-01 15:00"), pd.Timestamp("2024-01-01 21:00")),
        ("added", datetime.date(2024, 3, 1), datetime.date(2024, 3, 7)),
    ],
)
def test_ranges_of_an_index(shop, index_col, low, high):
    df = di.read_sql("shop.product", shop, index_col=index_col, npartitions=4)
    assert df.npartitions == 4
    assert df.known_divisions
    sizes = df.map_partitions(len).compute().tolist()
    assert sum(sizes) == ROWS
    assert min(sizes) > ROWS // 8
    assert df.compute().index.is_monotonic_increasing
    assert len(df.loc[low:high].compute()) == 7


def test_decimals_as_an_index(shop):
    query = "select id, price from shop.product where price is not null"
    df = di.read_sql(query, shop, index_col="price", npartitions=3)
    assert len(df.compute()) == 200
    assert df.loc[1.75].id.compute().tolist() == [7]


@pytest.mark.parametrize(
    "index_col, words",
    [("price", "null in 80 rows"), ("sold", "failed: "), ("name", "numbers or dates")],
)
def test_an_index_that_would_lose_rows_or_has_no_ranges(shop, index_col, words):
    query = "select name, price, sold from shop.product where name is not null"
    with pytest.raises(ValueError, match=words):
        di.read_sql(query, shop, index_col=index_col, npartitions=3)


def test_an_engine(shop):
    engine = sa.create_engine(shop)
    assert len(di.read_sql("shop.product", engine)) == ROWS
    assert len(di.read_sql("shop.product", engine, npartitions=3)) == ROWS
    engine.dispose()


def hidden(text: str) -> bool:
    quoted = "p%40ss%2Fw%25rd"
    return not any(word in text for word in (PASSWORD, PASSWORD[-16:], quoted))


def test_the_password_is_in_no_repr_and_no_graph(shop):
    assert not hidden(shop)
    df = di.read_sql("shop.product", shop, index_col="id", npartitions=2)
    graph = dict(df.__dask_graph__())
    shown = [
        repr(df),
        str(df.expr),
        df.expr.tree_repr(),
        repr(graph),
        repr(df.dask),
        repr(df.divisions),
    ]
    shown += [repr(key) for key in graph] + [repr(df.optimize().expr)]
    assert all(map(hidden, shown))
    again = pickle.loads(pickle.dumps(df))
    assert len(again) == ROWS


@pytest.mark.parametrize(
    "sql, change",
    [
        ("select nothing from shop.product", {}),
        ("shop.absent", {}),
        ("shop.product", {"username": "alice"}),
        ("shop.product", {"port": 1}),
        ("shop.product", {"database": "absent"}),
    ],
)
def test_the_password_is_in_no_exception(server, shop, sql, change):
    with pytest.raises(ValueError, match="failed: ") as raised:
        di.read_sql(sql, server.set(**change))
    text = "".join(traceback.format_exception(raised.value))
    assert hidden(text)
    assert hidden(repr(raised.value.__context__))


def test_a_table_that_is_gone_when_it_is_computed(server, shop):
    engine = sa.create_engine(server)
    with engine.begin() as con:
        con.execute(sa.text("create table brief as select 1 as one"))
    df = di.read_sql("brief", server)
    with engine.begin() as con:
        con.execute(sa.text("drop table brief"))
    engine.dispose()
    with dask.config.set(scheduler="sync"), pytest.raises(ValueError, match="failed") as raised:
        df.compute()
    assert "brief" in str(raised.value)
    assert hidden("".join(traceback.format_exception(raised.value)))
