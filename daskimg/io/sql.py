"""Tables from SQL databases, as Dask frames."""

from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd

from daskimg.engine.ops import BYTES
from daskimg.engine.program import STRING
from daskimg.errors import quoted, whole
from daskimg.io.commit.write import as_dask
from daskimg.lazy.source import from_reader
from daskimg.secrets import mask_url
from daskimg.words import READERS, known_as

__all__ = ["read_sql"]


@known_as(READERS)
def read_sql(
    sql: str,
    con: Any,
    *,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
    index_col: str | None = None,
    npartitions: int | None = None,
) -> dd.DataFrame:
    """A SELECT, or a whole table, as a Dask DataFrame.

    Parameters
    ----------
    sql : str
        A SELECT statement (``:name`` marks a bound parameter), or a table's name.
    con : str or sqlalchemy.Engine
        A SQLAlchemy URL (``"sqlite:///shop.db"``, ``"postgresql+psycopg://..."``) or an engine
        made of one. A path that ends in ``.db``, ``.sqlite`` or ``.sqlite3`` is a SQLite file.
    params : dict, optional
        Values of the parameters; they are bound, never pasted into the statement.
    index_col : str, optional
        A numeric or date column to use as the index; with `npartitions`, ranges of it are read
        as partitions.
    npartitions : int, optional
        How many partitions. Without `index_col` the result is read once and split.

    Returns
    -------
    dask.dataframe.DataFrame
        Strings are ``string[pyarrow]``. Reading happens when the frame is computed, but for one
        query that tells the dtypes.

    Raises
    ------
    TypeError
        When `con` is no URL or engine.
    ValueError
        When the database cannot be opened, or refuses the statement; passwords are masked.

    Examples
    --------
    >>> import sqlite3
    >>> with sqlite3.connect("shop.db") as db:
    ...     _ = db.execute("create table product (id integer, name text)")
    ...     _ = db.execute("insert into product values (1, 'apple'), (2, 'pear')")
    >>> di.read_sql("product", "sqlite:///shop.db").name.compute().tolist()
    ['apple', 'pear']
    >>> query = "select id from product where name = :name"
    >>> di.read_sql(query, "shop.db", params={"name": "pear"}).id.compute().tolist()
    [2]
    """
    sql, con = _in_order(sql, con)
    read = Query(_url_of(con), sql, dict(params) if isinstance(params, Mapping) else params)
    if npartitions is not None:
        npartitions = whole("npartitions", npartitions)
    read.meta = read.head(index_col)
    return _lazy(read, index_col, npartitions)


def _lazy(read: Query, index_col: str | None, npartitions: int | None) -> dd.DataFrame:
    meta = read.meta
    if index_col is None:
        frame = from_reader(read, [None], meta=meta, label="read-sql")
        return frame if npartitions in (None, 1) else frame.repartition(npartitions=npartitions)
    bounds = read.bounds(index_col, npartitions or 1)
    if bounds[0] is None:  # no rows
        return as_dask(meta)
    spans = [
        (index_col, low, high, high == bounds[-1] and n == len(bounds) - 2)
        for n, (low, high) in enumerate(itertools.pairwise(bounds))
    ]
    return from_reader(read, spans, meta=meta, divisions=bounds, label="read-sql")


class Query:
    """A statement and where to run it, for a worker; its repr and token show no password."""

    def __init__(self, url: Any, sql: str, params: Any) -> None:
        self.url, self.sql, self.params = url, sql, params
        self.meta: pd.DataFrame | None = None

    def __repr__(self) -> str:
        # SQLAlchemy masks the password of a URL, but not what stands in its query
        return f"Query({quoted(self.sql)}, {mask_url(str(self.url))})"

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("daskimg.Query", repr(self.url), self.sql, repr(self.params))

    def __call__(self, span: tuple[str, Any, Any, bool] | None) -> pd.DataFrame:
        frame = self.frame(span=span, index_col=None if span is None else span[0])
        return frame if self.meta is None else frame.astype(self.meta.dtypes.to_dict())

    def head(self, index_col: str | None) -> pd.DataFrame:
        """No rows, of the dtypes that all rows together have."""
        import sqlalchemy as sa

        first = self.frame(limit=100, index_col=index_col)
        unknown = [name for name in first.columns if first[name].isna().all()]
        for name in unknown if len(first) else ():  # the first value tells, wherever it is
            first[name] = self.frame(limit=1, given=name)[name].reindex(first.index[:0])
        whole = [name for name in first.columns if first[name].dtype.kind in "iub"]
        if whole:  # a null or fraction further down makes floats of them, and objects of booleans
            counts = [sa.func.count(self._whole(first[name])) for name in whole]
            query = sa.select(sa.func.count(), *counts).select_from(self._selectable())
            total, *present = self._run(lambda con: con.execute(query).one())
            others = [name for name, n in zip(whole, present, strict=True) if n < total]
            kinds = {name: "object" if first[name].dtype == bool else "float64" for name in others}
            first = first.astype(kinds)
        return first.iloc[:0]

    @staticmethod
    def _whole(first: pd.Series) -> Any:
        """The values of a column that are of the kind that its first ones are."""
        import sqlalchemy as sa

        column: Any = sa.column(str(first.name))
        if first.dtype.kind != "i":
            return column
        # in SQLite each value has a type of its own: a price may be 5 here and 3.7 there
        return sa.case((column == sa.cast(column, sa.BigInteger), column))

    def frame(
        self,
        limit: int | None = None,
        span: tuple[str, Any, Any, bool] | None = None,
        index_col: str | None = None,
        given: str | None = None,
    ) -> pd.DataFrame:
        """The rows, all or a part: the first, a range of a column, those where one is no null."""
        import sqlalchemy as sa

        source = self._selectable()
        query = sa.select(sa.text("*")).select_from(source)
        if span is not None:
            column: Any = sa.column(span[0])
            last = column <= span[2] if span[3] else column < span[2]
            query = query.where(column >= span[1], last).order_by(column)
        if given is not None:
            query = query.where(sa.column(given).is_not(None))
        if limit is not None:
            query = query.limit(limit)
        rows = self._run(lambda con: pd.read_sql(query, con, index_col=index_col))
        return _with_arrow(rows)

    def bounds(self, column: str, npartitions: int) -> list[Any]:
        """Edges of `npartitions` ranges of a column."""
        import sqlalchemy as sa

        which: Any = sa.column(column)
        query = sa.select(
            sa.func.min(which), sa.func.max(which), sa.func.count() - sa.func.count(which)
        )
        low, high, nulls = self._run(
            lambda con: con.execute(query.select_from(self._selectable())).one()
        )
        if nulls:
            raise ValueError(
                f"index_col: {column!r} is null in {nulls:,} rows, which no range holds: filter "
                "them out in the SELECT, or take another column"
            )
        if low is None:
            return [None, None]
        values: list[Any]
        if isinstance(low, int | float | decimal.Decimal):
            values = np.linspace(float(low), float(high), npartitions + 1).tolist()
            if isinstance(low, int):  # exactly, however large
                values = [low + (high - low) * n // npartitions for n in range(npartitions + 1)]
        elif isinstance(low, datetime.date):
            values = list(pd.date_range(low, high, npartitions + 1).to_pydatetime())
            if not isinstance(low, datetime.datetime):
                values = [value.date() for value in values]
        else:
            raise ValueError(
                f"index_col is a column of numbers or dates; {column!r} holds {quoted(low)}"
            )
        return [*dict.fromkeys(values[:-1]), values[-1]]

    def _selectable(self) -> Any:
        import sqlalchemy as sa

        words = self.sql.strip().rstrip(";")
        if len(words.split()) == 1:
            schema, _, table = words.rpartition(".")
            return sa.table(table, schema=schema or None)  # quoted by SQLAlchemy
        statement = sa.text(f"{words}\n")  # a comment ends there
        if self.params:
            if not isinstance(self.params, Mapping):
                raise TypeError(f"params is a dict for :name markers; got {quoted(self.params)}")
            statement = statement.bindparams(**self.params)
        return statement.columns().subquery("rows_")

    def _run(self, work: Any) -> Any:
        import sqlalchemy as sa

        engine = sa.create_engine(self.url)
        try:
            with engine.connect() as con:
                return work(con)
        except (sa.exc.SQLAlchemyError, pd.errors.DatabaseError) as error:
            cause = error if isinstance(error, sa.exc.SQLAlchemyError) else error.__cause__
            text = mask_url(str(getattr(cause, "orig", None) or cause))
            raise ValueError(f"{self!r} failed: {text}") from None
        finally:
            engine.dispose()


def _with_arrow(frame: pd.DataFrame) -> pd.DataFrame:
    """Text and bytes as Arrow has them, so that declared and computed dtypes agree."""
    found = {name: _arrow_type(column) for name, column in frame.items()}
    return frame.astype({name: dtype for name, dtype in found.items() if dtype is not None})


def _arrow_type(column: pd.Series) -> Any:
    if isinstance(column.dtype, pd.StringDtype):
        return STRING
    kind = pd.api.types.infer_dtype(column, skipna=True) if column.dtype == object else None
    return {"string": STRING, "bytes": BYTES}.get(kind or "")


def _in_order(sql: Any, con: Any) -> tuple[str, Any]:
    """`sql` and `con`, which are easily given the other way round."""
    if (not isinstance(sql, str) and isinstance(con, str)) or (
        _is_url(sql) and isinstance(con, str) and not _is_url(con)
    ):
        sql, con = con, sql
    if not isinstance(sql, str):
        raise TypeError(f"sql is a SELECT or a table's name; got {quoted(sql)}")
    return sql, con


def _is_url(text: Any) -> bool:
    return isinstance(text, str) and (
        "://" in text or text.endswith((".db", ".sqlite", ".sqlite3"))
    )


def _url_of(con: Any) -> Any:
    import sqlalchemy as sa

    if isinstance(con, sa.Engine):
        return con.url
    if isinstance(con, str) and "://" not in con and _is_url(con):
        con = f"sqlite:///{con}"
    if not isinstance(con, str | sa.URL):
        raise TypeError(
            f"con is a SQLAlchemy URL or engine; got {type(con).__name__}. Connections cannot "
            "travel to workers."
        )
    try:
        return sa.make_url(con)
    except sa.exc.ArgumentError:
        raise ValueError(
            f"con is a SQLAlchemy URL such as 'sqlite:///shop.db'; got {quoted(str(con))}"
        ) from None
