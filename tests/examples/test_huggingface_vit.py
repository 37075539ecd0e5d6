"""A Vision Transformer from a local folder says in a frame what it says when called directly."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import huggingface_vit
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps

import daskimg as di

pytestmark = [
    pytest.mark.long,  # the quick tests run the demo
    pytest.mark.skipif(find_spec("transformers") is None, reason="the example needs transformers"),
]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    assert huggingface_vit.main([f"--output={folder}"]) == 0
    return folder


def test_the_same_as_calling_the_model_on_pictures_of_pillow(labelled: Path) -> None:
    found = pd.read_parquet(labelled / "labelled", columns=["path", "label", "probability"])
    scores = di.read_parquet(str(labelled / "labelled"), columns=["scores"]).compute()["scores"]
    assert len(found) == 8
    import transformers

    model = transformers.ViTForImageClassification.from_pretrained(labelled / "model").eval()
    processor = transformers.AutoImageProcessor.from_pretrained(labelled / "model")
    for row, given in zip(found.itertuples(), scores, strict=True):
        with Image.open(row.path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
        with torch.inference_mode():
            expected = model(**processor(images=picture, return_tensors="pt")).logits[0]
        np.testing.assert_allclose(given, expected.numpy(), atol=0.02)
        assert row.label == model.config.id2label[int(expected.argmax())]
        assert row.probability == pytest.approx(float(expected.softmax(0).max()), abs=0.01)
    assert found["label"].nunique() > 1  # the pictures make a difference


def test_a_picture_turned_by_exif_is_the_upright_one_to_the_model(labelled: Path) -> None:
    found = pd.read_parquet(labelled / "labelled", columns=["path", "label", "probability"])
    found.index = found["path"].map(lambda path: Path(path).stem)
    assert found.loc["astronaut_turned", "label"] == found.loc["astronaut", "label"]
    upright, turned = found.loc[["astronaut", "astronaut_turned"], "probability"]
    assert turned == pytest.approx(upright, abs=0.02)


def test_datasets_reads_what_was_written_and_the_way_back(labelled: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="interchange with Hugging Face datasets")
    files = sorted(str(file) for file in (labelled / "labelled").glob("*.parquet"))
    dataset = huggingface_vit.read_with_datasets(files, tmp_path / "cache")
    table = pd.read_parquet(labelled / "labelled", columns=["path", "label"])
    assert dataset["label"] == table["label"].tolist()
    for row, path in zip(dataset, table["path"], strict=True):
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
        assert np.array_equal(np.asarray(row["image"]), np.asarray(upright))
    dataset.to_parquet(tmp_path / "back.parquet")
    back = di.read_parquet(str(tmp_path / "back.parquet")).compute()
    with Image.open(table["path"][0]) as opened:
        size = (opened.height, opened.width)
    assert (back["image"].img.height[0], back["image"].img.width[0]) == size


def test_a_model_of_ones_own_and_a_folder_that_holds_none(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    Image.new("RGB", (70, 50), "teal").save(pictures / "teal.png")
    (pictures / "broken.png").write_bytes(b"no picture")
    given = [f"--images={pictures}", f"--output={tmp_path / 'out'}"]
    assert huggingface_vit.main([*given, f"--model={labelled / 'model'}"]) == 0
    assert "broken.png: not readable" in capsys.readouterr().out
    assert huggingface_vit.main([*given, f"--model={pictures}"]) == 2
    assert "config.json" in capsys.readouterr().err
