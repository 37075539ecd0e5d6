"""A classifier trained on folders of pictures, saved, and run on pictures it never saw."""

from __future__ import annotations

import shutil
from pathlib import Path

import classification
import pandas as pd
import pytest
import torch
from photographs import TEXTURES, save_textures

pytestmark = pytest.mark.long  # the quick tests run the demo

SMALL = ["--each=45", "--epochs=6"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classification")
    assert classification.main([f"--output={folder}", *SMALL]) == 0
    return folder


def test_held_out_pictures_are_labelled_well_above_chance(trained: Path) -> None:
    found = pd.read_parquet(trained / "predictions")
    assert len(found) == 15 * len(TEXTURES)
    assert set(found["predicted"]) <= set(TEXTURES)
    assert found["path"].map(lambda path: Path(path).parts[-3]).eq("held-out").all()
    # chance is 0.25
    assert (found["label"].astype(str) == found["predicted"]).mean() >= 0.6
    assert found["confidence"].between(0.25, 1).all()


def test_the_file_alone_gives_the_model(trained: Path) -> None:
    saved = torch.load(trained / "model.pt", weights_only=True)
    assert saved["labels"] == sorted(TEXTURES)
    found = pd.read_parquet(trained / "predictions")
    frame = classification.di.read_images(str(trained / "pictures" / "held-out")).compute()
    pixels = classification.to_try(frame)["image"].img.to_numpy()
    model = classification.network(len(TEXTURES))
    model.load_state_dict(saved["weights"])
    with torch.inference_mode():
        best = model.eval()(torch.tensor(pixels).permute(0, 3, 1, 2)).argmax(1)
    assert [saved["labels"][n] for n in best.tolist()] == found["predicted"].tolist()


def test_own_folders_with_a_broken_picture_and_loader_processes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    train, _ = save_textures(tmp_path / "made", 20)
    for label in ("grass", "gravel"):
        shutil.rmtree(train / label)
    names = ["cut.jpg", *(f"cut-{n}.jpg" for n in range(40))]
    held = [name for name in names if classification.in_the_fifth(name)]
    seen = [name for name in names if not classification.in_the_fifth(name)]
    for name in (held[0], seen[0]):
        (train / "brick" / name).write_bytes(b"\xff\xd8\xff\xe0 not much of a picture")
    images, output = f"--images={train}", f"--output={tmp_path / 'out'}"
    assert classification.main([images, output, "--epochs=4", "--workers=2", "--margin=0.1"]) == 0
    printed = capfd.readouterr().out
    found = pd.read_parquet(tmp_path / "out" / "predictions")
    assert found["predicted"].isna().sum() == 1
    assert Path(found.loc[found["predicted"].isna(), "path"].item()).name == held[0]
    assert "1 of them not readable" in printed
    # of 20 + 20 good pictures those that are not held out are trained on, all of them each epoch
    assert f"epoch 4 of 4: {40 - (len(found) - 1)} pictures" in printed


def test_a_model_no_better_than_chance_is_told(tmp_path: Path) -> None:
    assert classification.main([f"--output={tmp_path}", *SMALL, "--epochs=1", "--margin=0.8"]) == 1


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "nowhere"
    assert classification.main([f"--images={missing}", f"--output={tmp_path}"]) == 2
    assert str(missing) in capsys.readouterr().err
