"""`digest`: exact copies of a file, and of a picture whatever holds it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import daskimg as di


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    grey = photo.convert("L")
    photo.save(tmp_path / "a.png")
    photo.save(tmp_path / "a.bmp")
    photo.convert("RGBA").save(tmp_path / "a_alpha.png")
    grey.save(tmp_path / "g.png")
    grey.convert("RGB").save(tmp_path / "g3.png")
    grey.rotate(90, expand=True).save(tmp_path / "g_turned.png")
    photo.quantize(16).save(tmp_path / "p.png")
    photo.quantize(16).convert("RGB").save(tmp_path / "p.tif")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "z_bad.png").write_bytes(b"bad")
    return tmp_path


def test_digests(folder):
    df = di.read_images(folder, on_error="null", files_per_partition=3)
    df = df.assign(file=df.image.img.digest(), seen=df.image.img.digest("pixels"))
    found = df.compute(scheduler="sync")
    found = found.set_index(found.path.str.extract(r"/([^/]+)$", expand=False))
    assert found.dtypes["file"] == found.dtypes["seen"] == df.dtypes["file"]
    assert found.file.nunique() == 9
    assert found.file["a.png"] == found.file["copy.png"]
    assert len(found.file["z_bad.png"]) == 32
    assert found.seen["z_bad.png"] is pd.NA
    same = sorted(sorted(names) for names in found.groupby("seen").groups.values())
    assert same == [
        ["a.bmp", "a.png", "a_alpha.png", "copy.png"],
        ["g.png", "g3.png"],
        ["g_turned.png"],
        ["p.png", "p.tif"],
    ]
    again = df.compute(scheduler="sync").image.img.digest("pixels")
    assert again.tolist() == found.seen.tolist()


def test_files_are_not_decoded_for_their_bytes(folder):
    df = di.read_images(folder)
    with di.stats() as seen:
        assert df.image.img.digest().compute(scheduler="sync").notna().all()
    assert "decode" not in seen.to_frame(by="stage").index


def test_alpha_and_depth_are_seen():
    pixels = np.full((4, 4, 4), 200, np.uint8)
    clear, deep = pixels.copy(), np.full((4, 4), 200, np.uint16)
    clear[0, 0, 3] = 0
    pictures = pd.Series([pixels, clear, deep, deep.astype(np.uint8)], dtype="image")
    found = pictures.img.digest("pixels").tolist()
    assert len(set(found)) == 4  # 200 of alpha hides a little
    with pytest.raises(TypeError, match="holds pixels"):
        pictures.img.digest()
    with pytest.raises(ValueError, match='"bytes" or "pixels"'):
        pictures.img.digest("file")
