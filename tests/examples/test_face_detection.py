"""Faces on real photographs: where they are known to be, and none where there is none."""

from __future__ import annotations

from pathlib import Path

import face_detection
import numpy as np
import pandas as pd
import pytest
from demo_catalogue import photograph
from PIL import Image, ImageOps

pytestmark = pytest.mark.long  # the quick tests run the demo

pytest.importorskip("cv2", reason="the example needs opencv-python-headless")

#: The astronaut's face, chin to hair, measured by hand.
FACE = (177, 68, 268, 172)
WITHOUT = {"chelsea", "coffee", "motorcycle_left", "rocket"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    assert face_detection.main([f"--output={folder}"]) == 0
    return folder


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / (sum((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)) - shared)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("astronaut", FACE),
        ("astronaut_turned", FACE),  # turned back by its EXIF note
        ("astronaut_mirrored", ((512 - 268) / 2, 68 / 2, (512 - 177) / 2, 172 / 2)),
    ],
)
def test_the_astronaut_is_found(found: Path, name: str, expected: tuple[float, ...]) -> None:
    faces = pd.read_parquet(found / "faces.parquet")
    face = faces[faces["name"] == name]
    assert len(face) == 1
    assert iou(tuple(face[["x0", "y0", "x1", "y1"]].iloc[0]), expected) > 0.7
    assert face["eyes"].item() >= 1


def test_most_portraits_of_the_sheet_are_found_and_nothing_else(found: Path) -> None:
    faces = pd.read_parquet(found / "faces.parquet")
    assert not WITHOUT & set(faces["name"])
    sheet = faces[faces["name"] == "people"]
    columns, rows = (sheet["x0"] + sheet["x1"]) // 280, (sheet["y0"] + sheet["y1"]) // 280
    cells = set(zip(columns, rows, strict=True))
    assert len(cells) >= 90  # of a hundred, each in its own cell
    assert len(sheet) <= 105


def test_boxes_are_drawn_on_the_pictures(found: Path) -> None:
    drawn = np.asarray(Image.open(found / "drawn" / "astronaut.png")).astype(int)
    before = np.asarray(Image.open(found / "photographs" / "astronaut.jpg")).astype(int)
    changed = np.abs(drawn - before).max(axis=2) > 40
    ys, xs = np.nonzero(changed)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    assert iou(box, FACE) > 0.7
    inner = changed[box[1] + 8 : box[3] - 8, box[0] + 8 : box[2] - 8]
    assert not inner.any()
    plain = np.asarray(Image.open(found / "drawn" / "coffee.png")).astype(int)
    coffee = np.asarray(Image.open(found / "photographs" / "coffee.jpg")).astype(int)
    assert np.abs(plain - coffee).max() <= 8
    assert len(list((found / "drawn").glob("*.png"))) == 9


def test_folders_of_ones_own_with_a_file_that_is_no_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/one.png", "b/one.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        ImageOps.pad(photograph("astronaut.png"), (600, 512)).save(path)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no picture")
    output = tmp_path / "out"
    assert face_detection.main([f"--images={tmp_path / 'in'}", f"--output={output}"]) == 0
    faces = pd.read_parquet(output / "faces.parquet")
    assert faces["name"].tolist() == ["a/one", "b/one"]
    assert faces["x0"].between(177 + 44 - 15, 177 + 44 + 15).all()
    files = {p.relative_to(output / "drawn").as_posix() for p in (output / "drawn").rglob("*.png")}
    assert files == {"a/one.png", "b/one.png"}
    assert "broken: not readable" in capsys.readouterr().out


def test_a_cluster_gives_the_same(found: Path, tmp_path: Path) -> None:
    images = found / "photographs"
    assert face_detection.main([f"--images={images}", f"--output={tmp_path}", "--cluster"]) == 0
    given, expected = (pd.read_parquet(x / "faces.parquet") for x in (tmp_path, found))
    pd.testing.assert_frame_equal(given, expected)
    drawn = sorted(path.name for path in (tmp_path / "drawn").glob("*.png"))
    assert drawn == sorted(path.name for path in (found / "drawn").glob("*.png"))
