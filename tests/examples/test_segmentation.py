"""Coins cut out of the part of a photograph that the network was not trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import segmentation
from photographs import OTHERS, save_coins
from PIL import Image

pytestmark = pytest.mark.long  # the quick tests run the demo


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segmentation")
    assert segmentation.main([f"--output={folder}"]) == 0
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("name", [name for name, _, _ in OTHERS])
def test_masks_lie_beside_their_pictures_and_are_right(segmented: Path, name: str) -> None:
    results, coins = segmented / "segmented", segmented / "coins"
    picture = results / f"{name}.jpg"
    assert picture.read_bytes() == (coins / "others" / f"{name}.jpg").read_bytes()
    with Image.open(results / f"{name}_mask.png") as opened:
        assert (opened.format, opened.mode) == ("PNG", "L")
    mask = pixels(results / f"{name}_mask.png")
    assert mask.shape == pixels(picture).shape[:2]
    assert set(np.unique(mask)) == {0, 255}
    truth = pixels(coins / "masks" / f"{name}.png") > 127
    inside = mask > 127
    overlap = (inside & truth).sum() / (inside | truth).sum()
    # calling everything coin gives the share of coins
    assert overlap > truth.mean() + 0.15
    assert overlap > 0.7


def test_the_overlay_is_red_where_the_mask_is(segmented: Path) -> None:
    results = segmented / "segmented"
    inside = pixels(results / "right_mask.png") > 127
    overlay = pixels(results / "right_overlay.png").astype(int)
    red = overlay[..., 0] - overlay[..., 1]
    assert red[inside].min() > 60
    assert np.abs(red[~inside]).max() <= 2


def test_own_pictures_some_without_a_mask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, masks, others = save_coins(tmp_path / "made", 10)
    (masks / "left-000.png").unlink()
    (masks / "right.png").unlink()
    (others / "more").mkdir()
    (others / "right-small.jpg").rename(others / "more" / "small.jpg")
    given = [f"--images={images}", f"--masks={masks}", f"--others={others}"]
    for _ in range(2):  # a second run writes the same files again
        assert segmentation.main([*given, f"--output={tmp_path / 'out'}", "--epochs=1"]) == 0
        assert "  right: no mask" in capsys.readouterr().out
    results = tmp_path / "out" / "segmented"
    made = {path.relative_to(results).as_posix() for path in results.rglob("*_mask.png")}
    assert made == {"right_mask.png", "right-large_mask.png", "more/small_mask.png"}
    with pytest.raises(SystemExit):
        segmentation.main([f"--images={images}"])
