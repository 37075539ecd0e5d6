from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

import daskimg as di
from daskimg.testing import assert_images_equal, make_images


def digest(paths: list[str]) -> str:
    return hashlib.blake2b(b"".join(Path(path).read_bytes() for path in paths)).hexdigest()


class TestMakeImages:
    def test_writes_pictures_of_the_formats_and_size_in_turn(self, tmp_path: Path) -> None:
        paths = make_images(tmp_path / "new", 5, size=(20, 30), formats=("jpeg", "PNG", "webp"))
        assert [Path(path).name for path in paths] == [
            "00000.jpg",
            "00001.png",
            "00002.webp",
            "00003.jpg",
            "00004.png",
        ]
        assert sorted(str(path) for path in (tmp_path / "new").iterdir()) == paths
        for path, wanted in zip(paths, ["JPEG", "PNG", "WEBP", "JPEG", "PNG"], strict=True):
            with PIL.Image.open(path) as picture:
                assert (picture.format, picture.size, picture.mode) == (wanted, (30, 20), "RGB")
                assert np.asarray(picture).std() > 10

    def test_sizes_lie_between(self, tmp_path: Path) -> None:
        paths = make_images(tmp_path, 20, size=((10, 40), (20, 50)), formats=["png"])
        sizes = {PIL.Image.open(path).size for path in paths}
        assert len(sizes) > 5
        assert all(40 <= width <= 50 and 10 <= height <= 20 for width, height in sizes)

    def test_a_seed_fixes_every_byte(self, tmp_path: Path) -> None:
        runs = [
            digest(make_images(tmp_path / str(i), 4, size=(9, 8), seed=seed, broken=4))
            for i, seed in enumerate((1, 1, 2))
        ]
        assert runs[0] == runs[1] != runs[2]
        first = make_images(tmp_path / "few", 2, size=(9, 8), seed=1)
        assert digest(first) == digest(make_images(tmp_path / "more", 5, size=(9, 8), seed=1)[:2])

    def test_broken_files_are_broken_as_they_say(self, tmp_path: Path) -> None:
        paths = make_images(tmp_path, 0, broken=5)
        names = [Path(path).name for path in paths]
        assert names == [
            "broken_00_empty.jpg",
            "broken_01_text.jpg",
            "broken_02_truncated.jpg",
            "broken_03_corrupt.png",
            "broken_04_empty.jpg",
        ]
        for path in (paths[0], paths[1]):
            with pytest.raises(PIL.UnidentifiedImageError):
                PIL.Image.open(path)
        for path in (paths[2], paths[3]):
            with PIL.Image.open(path) as picture:
                assert picture.size == (160, 120)
                with pytest.raises((OSError, SyntaxError)):
                    picture.load()

    def test_no_format(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="formats"):
            make_images(tmp_path, 1, formats=())


GREY = np.arange(6, dtype=np.uint8).reshape(2, 3)


class TestAssertImagesEqual:
    @pytest.mark.parametrize(
        "left, right",
        [
            (GREY, GREY.copy()),
            (GREY, PIL.Image.fromarray(GREY)),
            (di.Image(GREY), GREY),
            ([GREY, None], pd.Series([GREY, None], dtype="image")),
            (pd.Series([GREY, None], dtype="image").array, [di.Image(GREY), pd.NA]),
            (np.stack([GREY[..., None]] * 2), [GREY[..., None]] * 2),
            (np.array([1.0, np.nan, np.inf]), np.array([1.0, np.nan, np.inf])),
            ([], []),
            (di.Image(None, "a", "decode: bad"), di.Image(None, "a", "decode: bad")),
        ],
    )
    def test_equal(self, left: object, right: object) -> None:
        assert_images_equal(left, right)
        assert_images_equal(right, left)

    @pytest.mark.parametrize(
        "left, right, message",
        [
            ([GREY], [GREY, GREY], r"1 cells on the left, 2 on the right"),
            ([GREY, GREY], [GREY, None], r"cell 1: a picture on the left, missing"),
            (GREY, GREY.T, r"shape \(2, 3\) on the left, \(3, 2\)"),
            (GREY, GREY.astype("uint16"), r"dtype uint8 on the left, uint16"),
            (
                GREY,
                np.where(GREY == 4, 250, GREY).astype("uint8"),
                r"1 of 6 .* \(1, 1\): 4 and 250",
            ),
            (np.array([1.0, np.nan]), np.array([1.0, 2.0]), r"1 of 2 .*: nan and 2.0"),
            (
                di.Image(None, "a", "decode: bad"),
                di.Image(None, "a", "fetch: gone"),
                r"cell 0 \(a\): failed \(decode: bad\) on the left, failed \(fetch: gone\)",
            ),
            (di.Image(None, "a", "decode: bad"), None, r"failed .* missing on the right"),
            (di.Image(GREY, "a"), di.Image(GREY, "b"), r"path 'a' on the left, 'b'"),
            (di.Image(GREY, "a", "decode: cut"), di.Image(GREY, "a"), r"in part \(decode: cut\)"),
        ],
    )
    def test_different(self, left: object, right: object, message: str) -> None:
        with pytest.raises(AssertionError, match=message):
            assert_images_equal(left, right)

    def test_integers_of_more_digits_than_a_float_has(self) -> None:
        one, other = np.array([[7, 2**60]]), np.array([[7, 2**60 + 1]])
        assert_images_equal(one, other, atol=1)
        with pytest.raises(AssertionError, match=r"1 of 2 .* \(0, 1\): 1152921504606846976 and"):
            assert_images_equal(one, other)

    def test_no_credentials_are_told(self) -> None:
        cell = di.Image(GREY, "https://host/a.png?sig=hunter2")
        with pytest.raises(AssertionError, match=r"cell 0 \(https://host/a.png\?sig=\*\*\*\)"):
            assert_images_equal([cell], [GREY + 1])

    def test_atol(self) -> None:
        assert_images_equal(GREY, GREY + np.uint8(2), atol=2)
        with pytest.raises(AssertionError, match="6 of 6 values differ by more than 1"):
            assert_images_equal(GREY, GREY + np.uint8(2), atol=1)
        wrapped = np.zeros((1, 1), "uint8"), np.full((1, 1), 255, "uint8")
        with pytest.raises(AssertionError, match="0 and 255"):
            assert_images_equal(*wrapped, atol=1)

    def test_paths_may_be_left_out(self) -> None:
        assert_images_equal(di.Image(GREY, "a"), di.Image(GREY, "b"), check_path=False)
        assert_images_equal(di.Image(GREY, "a"), di.Image(GREY))

    def test_files_are_read(self, tmp_path: Path) -> None:
        paths = make_images(tmp_path, 2, size=(9, 8), formats=["png"])
        assert_images_equal(
            pd.Series(paths).astype(di.ImageDtype("file")),
            [np.asarray(PIL.Image.open(path)) for path in paths],
        )
