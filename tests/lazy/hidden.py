"""Work on pictures while Dask lacks a private name: a process for each name.

``python -m tests.lazy.hidden FOLDER [NAME ...]`` prints a line of JSON for each name, "" first
(all names are there). Dask and pandas are imported once; each name's process is forked from there,
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

import dask
import dask.array
import dask.dataframe as dd
import numpy as np
import pandas as pd

dask.config.set({"scheduler": "sync"})
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
    df = di.read_images(folder, files_per_partition=2, on_error="null")
    df["n"] = df.path.str.extract(r"(\d+)[^/]*$", expand=False).astype("int64")
    pictures = df.image.img
    df = df.assign(
        bright=pictures.brightness(),
        height=pictures.height,
        reason=pictures.check(),
        small=pictures.decode("RGB").img.resize(4, 4),
    )
    bright = df[df.bright > df.bright.mean()]
    good = df[df.reason.isna() & (df.n > 0)]
    merged = df.merge(SALES, on="n", how="left")
    merged = merged.assign(grey=merged.image.img.convert("L").img.mean())
    result = good.img.write_parquet(out / "good")
    back = di.read_parquet(out / "good").compute()
    resumed = good.img.write_parquet(out / "good", mode="resume")
    named = df[["image"]].img.write_images(out / "png", file_format="png", errors=out / "failed")
    dark, small = dask.compute(df.bright.min(), df.small)
    found = {
        "all": cells(df[["n", "bright", "height", "reason"]].compute()),
        "bright": cells(bright[["n", "bright"]].compute()),
        "passed": cells(good.assign(again=good.image.img.mean())[["n", "again"]].compute()),
        "merged": cells(merged[["n", "sold", "grey"]].compute().sort_values("n")),
        "rows": [len(df), len(good), result.rows, resumed.rows, named.rows, named.failed],
        "dark": round(float(dark), 6),
        "back": cells(back[["n", "bright", "height"]].sort_values("n")),
        "small": [None if c is pd.NA or c.failed else c.to_numpy().tolist() for c in small],
        "pixels": cells(pixels(back.sort_values("n"))),
        "array": df[df.reason.isna()].small.img.to_dask_array(lengths=True).sum().compute().item(),
        "files": sorted(str(p.relative_to(out)) for p in (out / "png").rglob("*.png")),
        "batches": [batch["n"].tolist() for batch in good.img.iter_batches(2)],
        "mapped": good.img.map_batches(doubled, columns="n").twice.compute().tolist(),
        "failed": cells(df[["image"]].img.errors()[["column", "stage"]].compute()),
        "given": cells(given(folder).compute()),
    }
    decodes = metrics.snapshot().get("decode", 0)
    ours = [str(one.message) for one in told if "private" in str(one.message)]
    return {"found": found, "decodes": decodes, "told": ours, "rules": RULES}


def doubled(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"twice": batch["n"] * 2}


def given(folder: str) -> dd.DataFrame:
    """Pictures that a table names, and boxes that its rows hold."""
    import daskimg as di

    paths = sorted(str(p) for p in Path(folder).glob("0*.*"))
    table = pd.DataFrame({"path": paths, "box": [[0, 0, 2 + k, 3] for k in range(len(paths))]})
    with dask.config.set({"dataframe.convert-string": False}):
        rows = dd.from_pandas(table, npartitions=2)
    cut = di.images(rows.path).img.apply(lambda a: a[:3, :3])
    return rows[["path"]].assign(mean=cut.img.mean(), size=di.images(rows.path).img.width)


def pixels(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"sum": [int(cell.to_numpy().sum()) for cell in frame.small]})


def cells(frame: pd.DataFrame) -> list[list[object]]:
    """Values that JSON keeps, rows in order."""
    rows = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
    return [[round(v, 6) if isinstance(v, float) else v for v in row] for row in rows]


def main(folder: str, out: str, *hidden: str) -> None:
    """A forked process for each name."""
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
