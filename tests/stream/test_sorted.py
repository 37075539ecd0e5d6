"""A frame sorted by what a model or a picture gives: each row is made once."""

from __future__ import annotations

import dask
import numpy as np
import pytest

from daskimg import metrics, read_images
from daskimg.testing import make_images

ROWS = 12


class Model:
    """Tells a score, and how many rows it saw."""

    seen = 0

    def __call__(self, batch):
        n = len(batch["path"])
        type(self).seen += n
        return {"score": np.arange(n)[::-1] * 1.0, "made": np.ones(n)}


@pytest.fixture(scope="module")
def df(tmp_path_factory):
    files = make_images(tmp_path_factory.mktemp("sorted"), ROWS, size=(6, 5))
    df = read_images(files, files_per_partition=4)
    small = df.image.img.decode("RGB").img.resize(4, 3)
    return df.assign(k=df.path.str[-6:], bright=df.image.img.mean(), image=small)


def staged(df):
    return df.img.map_batches(Model, columns=["path"], meta={"score": "f8", "made": "f8"})


CASES = {
    "by a score": lambda d: staged(d).set_index("score"),
    "by what a score gives": lambda d: (s := staged(d)).assign(w=s.score * 2).set_index("w"),
    "by a score, a column of the frame": lambda d: (s := staged(d)).set_index(s.score * 2),
    "sorted by a score": lambda d: staged(d).sort_values("score"),
    "by a measure": lambda d: staged(d).set_index("bright"),
    "by a measure, then the model": lambda d: staged(d.set_index("bright")),
    "twice": lambda d: staged(d.set_index("bright")).set_index("score"),
    "by the table": lambda d: staged(d).set_index("k"),
    "by the table, then the model": lambda d: staged(d.set_index("k")),
    "divisions given": lambda d: staged(d).set_index("score", divisions=[0.0, 2.0, 9.0]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["iterator", "torch"])
def test_each_row_is_made_once(df, name, way):
    if way == "torch":
        pytest.importorskip("torch")
    Model.seen = 0
    metrics.reset()
    with dask.config.set(scheduler="sync"):
        chosen = CASES[name](df)[["image", "made"]]
        if way == "torch":
            loader = chosen.img.to_torch(["image", "made"], batch_size=5)
            batches = [len(made) for (_, made), _ in loader]
        else:
            batches = [len(x["made"]) for x in chosen.img.iter_batches(5)]
    decoded = metrics.snapshot().get("decode", 0)
    assert sum(batches) == ROWS
    assert (Model.seen, decoded) == (ROWS, ROWS)
