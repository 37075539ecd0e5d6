"""The guide's programs run, each by itself; those that take URLs, on servers as well."""

from __future__ import annotations

import ast
import importlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from tests.servers import S3Server, postgres, s3_server  # noqa: F401

GUIDE = Path(__file__).resolve().parents[2] / "examples" / "guide"
#: Lines of code of the Ray Data guide that each program replaces: without blank ones, comments and
#: docstrings.
REPLACED = {
    "load_files": 8,
    "load_numpy": 5,
    "load_tfrecords": 12,
    "load_parquet": 5,
    "transform_basic": 10,
    "transform_opencv": 17,
    "transform_gpu": 31,
    "classify": 43,
    "detect": 34,
    "segment": 37,
    "batch_size": 15,
    "memory": 11,
    "gpu_resources": 10,
    "save_images": 10,
    "save_parquet": 9,
    "save_numpy": 9,
    "train_torch": 18,
    "train_tensorflow": 19,
    "huggingface": 15,
    "production": 14,
    "monitoring": 12,
    "multimodal": 39,
}
#: What the guide says in words only.
TOLD = {"good_practice"}
#: These import TensorFlow, which takes seconds: in the process that other tests import it in.
TENSORFLOW = {"load_tfrecords", "train_tensorflow"}


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program finds `made.py` beside it, and writes into a folder of its own."""
    monkeypatch.syspath_prepend(str(GUIDE))
    monkeypatch.chdir(tmp_path)


@pytest.mark.sampled(one_in=6)
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xdist_group("tensorflow"))
        if name in TENSORFLOW
        else name
        for name in sorted({*REPLACED, *TOLD})
    ],
)
def test_a_program_gives_what_numpy_pillow_and_pandas_give(name: str) -> None:
    importlib.import_module(name).main()


def test_every_program_is_run_and_stands_in_the_readme() -> None:
    programs = {path.stem for path in GUIDE.glob("*.py")} - {"made"}
    assert programs == {*REPLACED, *TOLD}
    readme = (GUIDE / "README.md").read_text()
    assert [name for name in programs if f"]({name}.py)" not in readme] == []


@pytest.mark.parametrize("name", sorted(REPLACED))
def test_none_is_longer_than_what_it_replaces(name: str) -> None:
    assert lines((GUIDE / f"{name}.py").read_text()) <= REPLACED[name]


def lines(source: str) -> int:
    """Lines of code of what stands above `main`, with the imports that it needs."""
    tree = ast.parse(source)
    work = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name == "main":
                break
            work.append(node)
    used = {node.id for part in work for node in ast.walk(part) if isinstance(node, ast.Name)}
    imports = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and used & {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    ]
    docs = {
        line
        for part in work
        for node in ast.walk(part)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    text = source.splitlines()
    code = [n for node in work for n in range(node.lineno, (node.end_lineno or 0) + 1)]
    kept = [n for n in code if n not in docs and text[n - 1].split("#")[0].strip()]
    return len(imports) + len(kept)


@pytest.fixture
def bucket(
    s3_server: S3Server,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A bucket that programs reach by its URL alone: the rest stands in the environment."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.storage_options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.storage_options["secret"])
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"guide-{secrets.token_hex(4)}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()


def uploaded(local: str, bucket: str) -> str:
    import s3fs

    url = f"{bucket}/{os.path.basename(local)}"
    s3fs.S3FileSystem().put(local, url, recursive=True)
    return url


def test_pictures_of_a_bucket(bucket: str) -> None:
    made, load_files = map(importlib.import_module, ("made", "load_files"))
    load_files.main(uploaded(made.pictures(), bucket))


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("name", ["save_images", "save_parquet", "save_numpy"])
def test_saved_in_a_bucket(name: str, bucket: str) -> None:
    importlib.import_module(name).main(f"{bucket}/output")


def test_production_from_bucket_to_bucket(bucket: str) -> None:
    made, production = map(importlib.import_module, ("made", "production"))
    production.main(uploaded(made.pictures(broken=True), bucket), f"{bucket}/output")


def test_the_business_example_on_s3_and_postgresql(bucket: str) -> None:
    made, multimodal = map(importlib.import_module, ("made", "multimodal"))
    pictures = uploaded(made.pictures(broken=True), bucket)
    sales = uploaded(made.sales(), bucket)
    with postgres(secrets.token_hex(8)) as url:
        database = url.render_as_string(hide_password=False)
        engine = sa.create_engine(url)
        products = pd.read_sql_table("products", made.catalogue())
        products.to_sql("products", engine, index=False)
        engine.dispose()
        multimodal.main(sales, database, pictures, f"{bucket}/analytics.csv")
