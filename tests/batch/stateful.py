"""Classes that count in files where they are constructed and how many run at once."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np

from tests.patience import crowd


class Counted:
    """Leaves a file for each construction, and one for each call while it lasts."""

    def __init__(self, folder: str, seconds: float = 0.0, together: int = 1) -> None:
        self.folder, self.seconds, self.together = Path(folder), seconds, together
        time.sleep(0.2)  # long enough for other threads to come for the same model
        number = len(list(self.folder.glob("made-*")))
        (self.folder / f"made-{os.getpid()}-{threading.get_ident()}-{number}").touch()

    def __call__(self, batch):
        mark = self.folder / f"runs-{os.getpid()}-{threading.get_ident()}"
        mark.touch()
        crowd(self.folder, "runs-*", "most", self.together)
        time.sleep(self.seconds)
        mark.unlink()
        return {"n": np.array([len(path) for path in batch["path"]]), "name": batch["path"]}


class Shared(Counted):
    thread_safe = True


class Own(Counted):
    per_thread = True


class Killer(Counted):
    """Kills its worker once, at a given row."""

    def __call__(self, batch):
        if any(path.endswith("00020.jpg") for path in batch["path"]):
            try:
                (self.folder / "killed").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), 9)
        return super().__call__(batch)


def constructions(folder) -> list[str]:
    """The processes of all constructions."""
    return [path.name.split("-")[1] for path in Path(folder).glob("made-*")]


def most_at_once(folder) -> int:
    """The most calls that were under way together."""
    return max(int(path.name.split("-")[1]) for path in Path(folder).glob("most-*"))
