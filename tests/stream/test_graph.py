"""What stands in Dask's graph beside the rows: delayed values, and what a cluster holds."""

from __future__ import annotations

import dask
import dask.dataframe as dd
import pytest

import daskimg as di
from tests.stream.conftest import ROWS

EVEN = [n for n in range(ROWS) if n % 2 == 0]


def listed(folder):
    """Files and their numbers, few to a partition: several make a piece."""
    df = di.read_images(folder, files_per_partition=5)
    return df.assign(n=df.path.str.extract(r"(\d+)\.\w+$", expand=False).astype("int64"))


def those(part, numbers):
    return part[part.n.isin(numbers)]


def even(d):
    return d[d.n.isin(EVEN)]


def of_pixels(d):
    return d.assign(image=d.image.img.decode("RGB").img.resize(4, 4))


def batched(d):
    return d.img.map_batches(lambda b: {"n": b["n"], "seen": b["n"]}, columns=["n", "image"])


DELAYED = {
    "isin": even,
    "isin of text": lambda d: d[d.n.astype(str).isin([str(n) for n in EVEN])],
    "not isin": lambda d: d[~d.n.isin([n + 1 for n in EVEN])],
    "isin twice": lambda d: d[d.n.isin(EVEN) & ~d.n.isin([1, 3])],
    "isin above a join": lambda d: even(d.merge(d[["n"]].compute(), on="n")),
    "isin after pixels": lambda d: even(of_pixels(d)),
    "isin as a column": lambda d: d.assign(even=d.n.isin(EVEN)).query("even"),
    "delayed isin": lambda d: d[d.n.isin(dask.delayed(list)(EVEN))],
    "delayed argument": lambda d: d.map_partitions(those, dask.delayed(list)(EVEN), meta=d._meta),
}


@pytest.mark.sampled(one_in=8)
@pytest.mark.parametrize(
    ("case", "scheduler"), [("isin", "sync"), *((case, "threads") for case in DELAYED)]
)
def test_delayed_values_below_an_iterator(folder, case, scheduler):
    df = DELAYED[case](listed(folder))
    with dask.config.set(scheduler=scheduler):
        assert [n for b in df.img.iter_batches(7) for n in b["n"]] == EVEN
        assert [len(b["image"]) for b in df.img.iter_batches(7)] == [7, 7, 6]
        assert [row["n"] for row in df.img.iter_rows()] == EVEN
        assert df.img.take_batch(5)["n"].tolist() == EVEN[:5]
        rows = of_pixels(df).img.to_torch("image", "n", batch_size=7)
        assert [n for _, numbers in rows for n in numbers.tolist()] == EVEN


@pytest.mark.sampled(one_in=12)
@pytest.mark.parametrize("fill", [False, True])
@pytest.mark.parametrize("case", [*DELAYED, "from_delayed", "to_delayed", "map_batches"])
def test_delayed_values_below_batches(folder, case, fill, one_thread):
    df = listed(folder)
    df = DELAYED[case](df) if case in DELAYED else df[df.n % 2 == 0]
    if case == "from_delayed":
        parts = [dask.delayed(part.compute()) for part in df.partitions]
        df = dd.from_delayed(parts, meta=df._meta)
    elif case == "to_delayed":
        df = dd.from_delayed(df.to_delayed(), meta=df._meta)
    elif case == "map_batches":
        df = df.img.map_batches(lambda b: {"n": b["n"]}, columns=["n"], fill_batches=True)
    found = df.img.map_batches(
        lambda b: {"n": b["n"], "first": [picture.flat[0] for picture in b["image"]]},
        columns=["n", "image"],
        batch_size=4,
        fill_batches=fill,
    )
    assert found.compute().n.tolist() == EVEN
    assert [n for b in found.img.iter_batches(7) for n in b["n"]] == EVEN


HELD = {
    "persisted": lambda d, client: d[d.n % 2 == 0].persist(),
    "persisted, then isin": lambda d, client: even(d.persist()),
    "a future as an argument": lambda d, client: d.map_partitions(
        those, dask.delayed(client.submit(list, EVEN)), meta=d._meta
    ),
    "made of a future": lambda d, client: d.map_partitions(
        those, dask.delayed(list)(client.submit(list, EVEN)), meta=d._meta
    ),
    "futures": lambda d, client: dd.from_delayed(
        [client.submit(those, client.compute(part), EVEN) for part in d.partitions], meta=d._meta
    ),
    "shuffled": lambda d, client: even(d).set_index("n", drop=False, divisions=[0, 40]),
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("case", HELD)
def test_what_a_cluster_holds_below_an_iterator(folder, case, client):
    df = HELD[case](listed(folder), client)
    assert [n for b in df.img.iter_batches(7) for n in b["n"]] == EVEN
    assert [len(b["image"]) for b in df.img.iter_batches(7)] == [7, 7, 6]
    assert [n for b in df.img.iter_batches(7, columns=["n"]) for n in b["n"]] == EVEN


@pytest.mark.parametrize("case", ["isin", "delayed argument", "isin after pixels"])
def test_delayed_values_on_a_cluster(folder, case, client):
    df = DELAYED[case](listed(folder))
    assert [n for b in df.img.iter_batches(7) for n in b["n"]] == EVEN
    assert [len(b["image"]) for b in df.img.iter_batches(7)] == [7, 7, 6]
