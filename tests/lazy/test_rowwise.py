"""What looks at more than its own row sees whole partitions, whatever filters come after."""

from __future__ import annotations

import dask
import pytest

from tests.lazy.frames import eager, lazy, plain

LOOKS = {
    "the values of an isin": lambda d: d.id.isin(6 - d.price),
    "the values of an isin, unlike": lambda d: d.label.isin(d[d.price > 4].label),
    "the table of a map": lambda d: d.price.map(d.set_index("id").price),
    "what rows that are dropped hold": lambda d: d.id.isin(d.price) | (d.price == 1),
}


@pytest.mark.filterwarnings("ignore:.*did not provide metadata")
@pytest.mark.parametrize("name", LOOKS)
def test_rows_that_a_filter_drops_are_looked_at(name, paths):
    def query(df):
        df = df.assign(found=LOOKS[name](df), m=df.image.img.mean())
        return df[(df.price > 3) & (df.m > 100)]

    with dask.config.set(scheduler="sync"):
        found = query(lazy(paths, 1)).compute()
    assert plain(found) == plain(query(eager(paths)))
