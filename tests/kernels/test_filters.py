"""Blur, sharpen, edges, drawn boxes and masks."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from daskimg.kernels import color, filters

rng = np.random.default_rng(5)
RGB = np.asarray(
    Image.fromarray(rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)).resize((70, 60), 3)
)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_blur_is_pillows(mode):
    pixels = color.convert(RGB, mode)
    expected = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1.7))
    np.testing.assert_array_equal(filters.blur(pixels, 1.7), np.asarray(expected))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_blur_of_other_dtypes_is_a_gaussian(dtype):
    point = np.zeros((41, 41), dtype)
    point[20, 20] = 60_000
    got = filters.blur(point, 2.0)
    assert got.dtype == dtype
    x = np.arange(-20, 21)
    line = np.exp(-(x**2) / 8)
    expected = 60_000 * np.outer(line, line) / line.sum() ** 2
    assert np.abs(got - expected).max() < 1
    wide = filters.blur(RGB.astype(dtype), 2.0)
    assert np.abs(wide - filters.blur(RGB, 2.0).astype(float)).mean() < 2
    flat = np.full((5, 6, 3), 7, dtype)
    np.testing.assert_allclose(filters.blur(flat, 3), flat, rtol=1e-6)


def test_blur_keeps_shape_and_input():
    before = RGB.copy()
    assert filters.blur(RGB[:, :, :1], 1).shape == (60, 70, 1)
    assert filters.blur(RGB, 0) is RGB
    assert filters.blur(RGB[:1, :1], 5).shape == (1, 1, 3)
    np.testing.assert_array_equal(RGB, before)
    with pytest.raises(ValueError, match="sigma of 0 or above, got -1"):
        filters.blur(RGB, -1)


def test_sharpen_is_pillows_unsharp_mask():
    for amount in (0.5, 1, 2.5):
        mask = ImageFilter.UnsharpMask(2, round(amount * 100), 0)
        expected = np.asarray(Image.fromarray(RGB).filter(mask))
        assert np.abs(filters.sharpen(RGB, amount).astype(int) - expected).max() <= 1
    np.testing.assert_array_equal(filters.sharpen(RGB, 0), RGB)
    assert filters.sharpen(RGB.astype(np.uint16), 1).dtype == np.uint16
    with pytest.raises(ValueError, match="amount"):
        filters.sharpen(RGB, -0.5)


def slow_canny(pixels, low, high):
    """Canny pixel by pixel, as OpenCV documents it: an independent reading."""
    y = np.pad(np.asarray(Image.fromarray(pixels).convert("L")).astype(int), 1, mode="edge")
    h, w = y.shape[0] - 2, y.shape[1] - 2
    dx, dy = np.zeros((h, w)), np.zeros((h, w))
    for r in range(h):
        for c in range(w):
            part = y[r : r + 3, c : c + 3]
            dx[r, c] = (part[:, 2] - part[:, 0]) @ [1, 2, 1]
            dy[r, c] = (part[2] - part[0]) @ [1, 2, 1]
    force = np.pad(abs(dx) + abs(dy), 1)
    state = np.zeros((h, w), int)
    for r in range(h):
        for c in range(w):
            here = force[r + 1, c + 1]
            if here <= low:
                continue
            ax, ay = abs(dx[r, c]), abs(dy[r, c])
            if ay < ax * np.tan(np.pi / 8):
                peak = here > force[r + 1, c] and here >= force[r + 1, c + 2]
            elif ax < ay * np.tan(np.pi / 8):
                peak = here > force[r, c + 1] and here >= force[r + 2, c + 1]
            else:
                s = -1 if (dx[r, c] < 0) != (dy[r, c] < 0) else 1
                peak = here > force[r, c + 1 - s] and here > force[r + 2, c + 1 + s]
            state[r, c] = (1 + (here > high)) if peak else 0
    todo = list(zip(*np.nonzero(state == 2), strict=True))
    while todo:
        r, c = todo.pop()
        for i in range(max(r - 1, 0), min(r + 2, h)):
            for j in range(max(c - 1, 0), min(c + 2, w)):
                if state[i, j] == 1:
                    state[i, j] = 2
                    todo.append((i, j))
    return np.where(state == 2, 255, 0)


@pytest.mark.parametrize("low, high", [(50, 150), (100, 100), (0, 400), (10, 3000)])
def test_edges_are_cannys(low, high):
    grainy = (RGB + rng.integers(0, 25, RGB.shape)).clip(0, 255).astype(np.uint8)
    for pixels in (RGB, grainy):
        got = filters.edges(pixels, low, high)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, slow_canny(pixels, low, high))


def test_edges_of_other_dtypes_and_bounds():
    deep = color.convert(color.convert(RGB, "L"), "I;16")
    np.testing.assert_array_equal(filters.edges(deep, 50, 150), filters.edges(RGB, 50, 150))
    assert not filters.edges(np.full((5, 5), 9, np.uint8), 1, 2).any()
    assert filters.edges(np.zeros((1, 1), np.uint8), 0, 0).shape == (1, 1)
    for low, high in [(5, 3), (-1, 3), (float("nan"), 3)]:
        with pytest.raises(ValueError, match="0 <= low <= high"):
            filters.edges(RGB, low, high)


def test_boxes_are_drawn_on_their_corners():
    black = np.zeros((20, 30), np.uint8)
    got = filters.draw_boxes(black, [[3, 4, 20, 15]], width=1)
    assert got.shape == (20, 30, 3)
    rows, columns = np.nonzero(got.any(axis=2))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 15, 3, 20)
    assert not got[5:15, 4:20].any()
    assert not black.any()


def test_boxes_of_equal_labels_share_a_colour():
    boxes = np.array([[0, 0, 20, 40], [30, 0, 50, 40], [60, 0, 65, 40]])
    got = filters.draw_boxes(np.zeros((50, 70, 3), np.uint8), boxes, ["cat", "dog", "cat"])
    corners = [tuple(got[40, x]) for x in (0, 30, 60)]
    assert corners[0] == corners[2] != corners[1]
    plain = filters.draw_boxes(np.zeros((50, 70, 3), np.uint8), boxes)
    assert (got != plain).any()


def test_boxes_may_be_none_outside_or_on_any_picture():
    for none in (None, [], np.zeros((0, 4))):
        np.testing.assert_array_equal(filters.draw_boxes(RGB, none), RGB)
    for pixels in (color.convert(RGB, "RGBA"), color.convert(RGB, "LA"), RGB.astype(np.uint16)):
        if pixels.dtype == np.uint8:
            assert filters.draw_boxes(pixels, [[-5, -5, 200, 30]]).shape == (60, 70, 3)
    light = filters.draw_boxes(np.full((9, 9), 1.0, np.float32), None)
    assert (light == 255).all()


@pytest.mark.parametrize(
    "boxes, labels, words",
    [
        ([[1, 2, 3]], None, "xmin, ymin, xmax, ymax"),
        ([[1, 2, float("nan"), 4]], None, "xmin, ymin, xmax, ymax"),
        ([[9, 2, 3, 4]], None, "x, y, w, h"),
        ([[1, 2, 3, 4]], ["a", "b"], "1 labels"),
    ],
)
def test_boxes_refuse(boxes, labels, words):
    with pytest.raises(ValueError, match=words):
        filters.draw_boxes(RGB, boxes, labels)


def test_mask():
    mask = np.zeros((60, 70), bool)
    mask[10:20, 5:9] = True
    before = RGB.copy()
    got = filters.draw_mask(RGB, mask, (255, 0, 100), 0.25)
    expected = RGB * 0.75 + np.array([255, 0, 100]) * 0.25
    assert np.abs(got[mask] - expected[mask]).max() <= 0.5
    np.testing.assert_array_equal(got[~mask], RGB[~mask])
    np.testing.assert_array_equal(RGB, before)
    same = filters.draw_mask(RGB, mask[:, :, None].astype(np.uint8) * 9, "#ff0064", 0.25)
    np.testing.assert_array_equal(same, got)
    np.testing.assert_array_equal(filters.draw_mask(RGB, mask, alpha=0), RGB)


def test_mask_refuses():
    with pytest.raises(ValueError, match=r"\(60, 70\), got \(3, 3\)"):
        filters.draw_mask(RGB, np.ones((3, 3)))
    with pytest.raises(ValueError, match="alpha"):
        filters.draw_mask(RGB, np.ones((60, 70)), alpha=2)
    with pytest.raises(ValueError, match="unknown color"):
        filters.draw_mask(RGB, np.ones((60, 70)), "no colour")
