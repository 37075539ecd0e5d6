"""The faults that the example plants are in its page and its list, and not in what it keeps."""

from __future__ import annotations

from pathlib import Path

import curation
import pandas as pd
import pytest

DROPPED = {
    "astronaut_turned.jpg",
    "blank.png",
    "coffee_again.jpg",
    "coffee_blurred.jpg",
    "coffee_dark.jpg",
    "coffee_half.png",
    "coffee_pale.jpg",
    "cut.jpg",
}


def test_the_example_cleans_what_it_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(curation, "GROCERY", tmp_path / "none")
    assert curation.main([f"--output={tmp_path}"]) == 0
    dropped = pd.read_csv(tmp_path / "dropped.csv").set_index("path")
    names = {path.rsplit("/", 1)[1] for path in dropped.index}
    assert names == DROPPED
    assert dropped.reason.dropna().str.startswith("decode: ").tolist() == [True]
    kept = pd.read_parquet(tmp_path / "kept")
    assert len(kept) == len(list((tmp_path / "photographs").iterdir())) - len(DROPPED)
    assert not names & {path.rsplit("/", 1)[1] for path in kept.path}
    page = (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert "coffee_blurred.jpg" in page
    assert f"{len(kept)} pictures kept, {len(DROPPED)} dropped" in capsys.readouterr().out


def test_an_empty_folder_is_said_to_be_so(tmp_path: Path) -> None:
    assert curation.main([f"--images={tmp_path}", f"--output={tmp_path / 'out'}"]) == 2
