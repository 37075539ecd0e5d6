"""An environment for each library that is not installed here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class UnavailableError(Exception):
    """Why a library has no row of figures."""


def python_of(library: str, needs: Sequence[str], folder: Path | None, log: Path) -> str:
    """The interpreter that has what a library needs: this one where it needs nothing more."""
    if not needs:
        return sys.executable
    if folder is None:
        raise UnavailableError("no environment: say --envs")
    place = folder / library
    python, done = place / "bin" / "python", place / "installed.json"
    if done.exists() and json.loads(done.read_text()) == [*needs]:
        return str(python)
    commands = [
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(python), "-m", "pip", "install", "--quiet", *needs],
    ]
    with log.open("a") as output:
        for command in commands:
            if subprocess.run(command, stdout=output, stderr=output).returncode:
                raise UnavailableError(f"could not be installed, see {log}")
    done.write_text(json.dumps([*needs]))
    return str(python)


def version(python: str, package: str) -> str:
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    told = subprocess.run(
        [python, "-c", code, package], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "?"
