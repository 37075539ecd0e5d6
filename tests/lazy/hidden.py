"""Work on pictures while Dask lacks a private name: a process for each name.

``python -m tests.lazy.hidden FOLDER OUT [MODULE:NAME ...]`` prints a line of JSON for each name;
"" hides none. Dask and pandas are imported once; each name's process is forked from there,
and hides the name from all that is imported later.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import dask
import dask.array
import dask.dataframe as dd
import numpy as np
import pandas as pd

SALES = pd.DataFrame({"n": [0, 2, 3, 5], "sold": [1.0, 2.0, 3.0, 4.0]})


@contextmanager
def without(place: str, name: str) -> Iterator[None]:
    """`name` is gone from the module `place`, for those who import it meanwhile.

    (Not for good: Dask's own pickles look classes up by their names.)
    """
    real = importlib.import_module(place)
    fake = types.ModuleType(place)
    vars(fake).update(vars(real))
    owner, _, method = name.partition(".")
    if method:
        setattr(fake, owner, type(owner, (), {}))
    else:
        delattr(fake, owner)
    sys.modules[place] = fake
    yield
    sys.modules[place] = real


def work(folder: str, out: Path, hidden: str) -> dict[str, object]:
    """Read, ops, filter, merge, write; values that can be compared, and the decodes it took."""
    hiding = without(*hidden.split(":")) if hidden else nullcontext()
    with hiding, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        import daskimg as di
        from daskimg import metrics
        from daskimg.lazy.expr import RULES

    metrics.reset()
    found = {**some(di, folder, out), **more(di, folder, out)}
    decodes = metrics.snapshot().get("decode", 0)
    ours = [str(one.message) for one in told if "private" in str(one.message)]
    return {"found": found, "decodes": decodes, "told": ours, "rules": RULES}


def some(di: Any, folder: str, out: Path) -> dict[str, object]:
    """Read, ops, filter, merge, write."""
    df = listed(di, folder)
    df = df.assign(
        bright=df.image.img.brightness(), small=df.image.img.decode("RGB").img.resize(4, 4)
    )
    bright = df[(df.bright > 120) & (df.n > 0)].merge(SALES, on="n", how="left")
    written = bright.img.write_parquet(out / "some")
    back = di.read_parquet(out / "some").compute()
    return {
        "written": [written.rows, written.failed],
        "back": cells(back[["n", "bright", "sold"]].sort_values("n")),
        "pixels": pixels(back.sort_values("n")),
    }


def more(di: Any, folder: str, out: Path) -> dict[str, object]:
    """All that goes its own way without the rules."""
    from daskimg.lazy.bare import as_pandas
    from daskimg.stream.runners import Here
    from daskimg.stream.shards import Dataset, Reader
    from daskimg.stream.window import pieces

    df = listed(di, folder)
    pictures = df.image.img
    df = df.assign(
        height=pictures.height,
        reason=pictures.check(),
        small=pictures.decode("RGB").img.resize(4, 4),
    )
    good = df[df.reason.isna() & (df.n > 0)]
    first = good.img.write_parquet(out / "good")
    again = good.img.write_parquet(out / "good", mode="resume")
    named = df[["image"]].img.write_images(out / "png", file_format="png", errors=out / "failed")
    turned = df.assign(image=pictures.decode("RGB").img.random_flip(seed=1))[["image", "n"]]
    turned = Dataset(turned[df.reason.isna()])
    epochs = [
        [
            [row.n, int(row.image.to_numpy()[:, 0].sum())]
            for rows in made
            for row in as_pandas(rows).itertuples()
        ]
        for made in (pieces(turned.work(Reader(), epoch, None), Here()) for epoch in (0, 1, 0))
    ]
    return {
        "passed": cells(good.assign(again=good.image.img.mean())[["n", "again"]].compute()),
        "rows": [len(df), len(good), first.rows, again.rows, named.rows, named.failed],
        "array": good.small.img.to_dask_array(lengths=True).sum().compute().item(),
        "files": sorted(str(p.relative_to(out)) for p in (out / "png").rglob("*.png")),
        "batches": [batch["n"].tolist() for batch in good.img.iter_batches(2)],
        "mapped": good.img.map_batches(doubled, columns="n").twice.compute().tolist(),
        "failed": cells(df[["image"]].img.errors()[["column", "stage"]].compute()),
        "given": cells(given(di, folder).compute()),
        "epochs": epochs,
    }


def listed(di: Any, folder: str) -> dd.DataFrame:
    """The pictures of a folder, numbered by their names."""
    df = di.read_images(folder, files_per_partition=2, on_error="null")
    return df.assign(n=df.path.str.extract(r"(\d+)[^/]*$", expand=False).astype("int64"))


def doubled(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"twice": batch["n"] * 2}


def given(di: Any, folder: str) -> dd.DataFrame:
    """Pictures that a table names, and boxes that its rows hold."""
    paths = sorted(str(p) for p in Path(folder).glob("0*.*"))
    table = pd.DataFrame({"path": paths, "box": [[0, 0, 2 + k, 3] for k in range(len(paths))]})
    with dask.config.set({"dataframe.convert-string": False}):
        rows = dd.from_pandas(table, npartitions=2)
    cut = di.images(rows.path).img.apply(lambda a: a[:3, :3])
    return rows[["path"]].assign(mean=cut.img.mean(), size=di.images(rows.path).img.width)


def pixels(frame: pd.DataFrame) -> list[object]:
    return [
        None if cell is pd.NA or cell.failed else cell.to_numpy().tolist() for cell in frame.small
    ]


def cells(frame: pd.DataFrame) -> list[list[object]]:
    """Values that JSON keeps, rows in order."""
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return [[round(v, 6) if isinstance(v, float) else v for v in row] for row in rows]


def main(folder: str, out: str, *hidden: str) -> None:
    """A forked process for each name."""
    dask.config.set({"scheduler": "sync"})
    for number, name in enumerate(hidden):
        sys.stdout.flush()
        child = os.fork()
        if not child:
            told = work(folder, Path(out) / str(number), name)
            print(json.dumps({"hidden": name, **told}), flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            print(json.dumps({"hidden": name, "died": True}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
