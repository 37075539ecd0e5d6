"""The package as strangers get it: built, checked, installed where nothing is, used."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: What a stranger's first program does.
FIRST = """
import numpy as np
import PIL.Image
import daskimg as di

pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
PIL.Image.fromarray(pixels).save("one.png")
frame = di.read_images(".").compute()
assert (frame.image.iloc[0].to_numpy() == pixels).all()
assert di.read_images(".").image.img.mean().compute().tolist() == [pixels.mean()]
print(di.__version__, di.__file__)
"""


def run(*command: object, cwd: Path) -> str:
    # PYTHONPATH could bring the tree that this test stands in
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = list(map(str, command))
    done = subprocess.run(words, cwd=cwd, text=True, env=environment, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel made of it, from a copy of what is packed."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(ROOT / "daskimg", tree / "daskimg", ignore=shutil.ignore_patterns("*.pyc"))
    run(sys.executable, "-m", "build", "--outdir", tree / "dist", cwd=tree)
    return tree / "dist"


@pytest.mark.long
def test_wheel_and_sdist_hold_the_package_alone(built: Path) -> None:
    (wheel,), (sdist,) = built.glob("*.whl"), built.glob("*.tar.gz")
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "daskimg").rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        meta = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        about = archive.read(meta).decode()
    assert {*names} == modules | {"daskimg/daskimg.yaml", "daskimg/py.typed"}
    assert "License-Expression: Apache-2.0\n" in about
    assert "Classifier: Typing :: Typed\n" in about
    with tarfile.open(sdist) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    assert modules | {"daskimg/daskimg.yaml", "daskimg/py.typed", "LICENSE"} <= packed


@pytest.mark.long
def test_an_index_would_take_them(built: Path) -> None:
    told = run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir(), cwd=built)
    assert told.count("PASSED") == 2


@pytest.mark.long
@pytest.mark.timeout(900)  # packages may have to be fetched
def test_the_wheel_in_an_empty_environment_reads_a_picture(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "empty", cwd=tmp_path)
    python = tmp_path / "empty" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-compile", wheel, cwd=tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    told = run(python, "-c", textwrap.dedent(FIRST), cwd=work)
    assert str(tmp_path / "empty") in told
    assert run(python, "-m", "pip", "check", cwd=work).startswith("No broken requirements")


def test_the_table_of_licences_names_what_is_installed() -> None:
    where = ROOT / ".ci" / "licences.py"
    spec = importlib.util.spec_from_file_location("licences", where)
    assert spec is not None
    assert spec.loader is not None
    licences = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(licences)
    always = licences.installed_with("daskimg")
    assert {"dask", "distributed", "numpy", "pandas", "pillow", "pyarrow", "tornado"} <= {*always}
    text = (ROOT / "docs" / "compliance.md").read_text()
    told = {line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if "|" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        one
        for extra, more in project["optional-dependencies"].items()
        if extra not in licences.OTHERS
        for one in more
    ]
    names = {licences.canonicalize_name(licences.Requirement(one).name) for one in wanted}
    assert names - {"daskimg"} <= told
    assert [n for n in always if licences.licence(n) in ("not said", "not installed here")] == []
