"""Blur, sharpen, edges, and what is drawn on pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ImageColor, ImageDraw, ImageFilter, ImageFont

from daskimg.kernels.color import convert
from daskimg.kernels.measure import luma
from daskimg.kernels.pixels import (
    Pixels,
    check_pixels,
    fitted,
    from_pil,
    pillow_holds,
    shaped,
    to_pil,
    white,
)

__all__ = ["blur", "color_of", "draw_boxes", "draw_mask", "edges", "sharpen"]

_COLORS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#46f0f0", "#f032e6", "#bcf60c")


def blur(pixels: Pixels, sigma: float) -> Pixels:
    """Blur by a Gaussian of standard deviation `sigma`, in pixels.

    Of 8 bits it is ``PIL.ImageFilter.GaussianBlur(sigma)``, else a Gaussian cut at four `sigma`,
    the picture's border repeated.

    Raises
    ------
    ValueError
        For a sigma below zero.

    Examples
    --------
    >>> blur(np.array([[0, 90, 0]], np.float32), 0.5).round(1)
    array([[ 9.6, 70.8,  9.6]], dtype=float32)
    """
    if not sigma >= 0:
        raise ValueError(f"expected a sigma of 0 or above, got {sigma!r}")
    check_pixels(pixels)
    if sigma == 0:
        return pixels
    if pillow_holds(pixels):
        return shaped(from_pil(to_pil(pixels).filter(ImageFilter.GaussianBlur(sigma))), pixels)
    reach = max(1, round(4 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    result = pixels.astype(np.float32)
    for axis in (0, 1):
        sides = [(reach, reach) if n == axis else (0, 0) for n in range(pixels.ndim)]
        wide = np.moveaxis(np.pad(result, sides, mode="edge"), axis, 0)
        rows = pixels.shape[axis]
        moved = sum(np.float32(w) * wide[n : n + rows] for n, w in enumerate(weights))
        result = np.moveaxis(np.asarray(moved), 0, axis)
    return np.ascontiguousarray(fitted(result, pixels.dtype))


def sharpen(pixels: Pixels, amount: float = 1.0) -> Pixels:
    """Sharpen by an unsharp mask: ``pixels + amount * (pixels - blur(pixels, 2))``.

    Clipped to black and white. With 8 bits it is Pillow's ``UnsharpMask(radius=2,
    percent=100 * amount, threshold=0)``.

    Raises
    ------
    ValueError
        For an amount below zero.

    Examples
    --------
    >>> sharpen(np.full((3, 3), 7, np.uint8), 2.0)[1, 1]
    np.uint8(7)
    """
    if not amount >= 0:
        raise ValueError(f"expected an amount of 0 or above, got {amount!r}")
    wide = pixels.astype(np.float32)
    wide += np.float32(amount) * (wide - blur(pixels, 2))
    return fitted(np.clip(wide, 0, white(pixels), out=wide), pixels.dtype)


def edges(pixels: Pixels, low: float, high: float) -> npt.NDArray[np.uint8]:
    """Find edges by Canny's method: 255 on an edge, 0 elsewhere.

    Sobel gradients of luma, thinned across their direction; an edge is where ``|dx| + |dy|``
    exceeds `high`, and what exceeds `low` in touch with it, as ``cv2.Canny(luma, low, high)``.
    Blur the picture first where it is noisy.

    Parameters
    ----------
    pixels : ndarray
    low, high : float
        Thresholds, on the 0-255 scale (a step from black to white has 1020).

    Returns
    -------
    ndarray
        uint8 of shape ``(H, W)``.

    Raises
    ------
    ValueError
        When `low` is below zero or above `high`.

    References
    ----------
    J. Canny, A Computational Approach to Edge Detection, PAMI 8(6), 1986.

    Examples
    --------
    >>> edges(np.array([[0, 0, 255, 255]] * 4, np.uint8), 100, 200)[1]
    array([  0, 255,   0,   0], dtype=uint8)
    """
    if not 0 <= low <= high:
        raise ValueError(f"expected thresholds 0 <= low <= high, got {low!r} and {high!r}")
    wide = np.pad(luma(pixels), 1, mode="edge").astype(np.int16)
    down = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    across = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    dx, dy = down[:, 2:] - down[:, :-2], across[2:] - across[:-2]
    size_x, size_y = np.abs(dx), np.abs(dy)
    force = np.pad(size_x + size_y, 1)
    h, w = dx.shape

    def beside(row: int, column: int) -> npt.NDArray[np.int16]:
        return force[1 + row : 1 + row + h, 1 + column : 1 + column + w]

    here = beside(0, 0)
    tangent = np.float32(np.tan(np.pi / 8))  # 22.5 degrees part the four directions
    flat, steep = size_y < tangent * size_x, size_x < tangent * size_y
    slant = (dx < 0) ^ (dy < 0)
    peak = np.where(
        flat,
        (here > beside(0, -1)) & (here >= beside(0, 1)),
        np.where(
            steep,
            (here > beside(-1, 0)) & (here >= beside(1, 0)),
            np.where(
                slant,
                (here > beside(-1, 1)) & (here > beside(1, -1)),
                (here > beside(-1, -1)) & (here > beside(1, 1)),
            ),
        ),
    )
    # flood from the strong pixels over the weak ones, on a grid with a border of none
    stride = w + 2
    weak = np.pad(peak & (here > low), 1).ravel()
    found = np.zeros_like(weak)
    front = np.flatnonzero(weak & (force.ravel() > high))
    around = np.array([-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1])
    while front.size:
        found[front] = True
        weak[front] = False
        near = (front[:, None] + around).ravel()
        front = np.unique(near[weak[near]])
    return np.ascontiguousarray(found.reshape(h + 2, stride)[1:-1, 1:-1]).view(np.uint8) * np.uint8(
        255
    )


def draw_boxes(
    pixels: Pixels, boxes: Any, labels: Sequence[object] | None = None, width: int = 2
) -> npt.NDArray[np.uint8]:
    """Draw boxes, and a label inside the top left corner of each.

    Parameters
    ----------
    pixels : ndarray
    boxes : array-like of shape (n, 4)
        ``(xmin, ymin, xmax, ymax)`` in pixels, as torchvision.utils.draw_bounding_boxes. None,
        or no box, draws nothing. Parts outside the picture are not seen.
    labels : sequence, optional
        One for each box; equal labels share a colour.
    width : int, default 2
        Width of the lines.

    Returns
    -------
    ndarray
        8-bit RGB.

    Raises
    ------
    ValueError
        For boxes of another shape, boxes whose corners are in the wrong order, or another number
        of labels.

    Examples
    --------
    >>> draw_boxes(np.zeros((8, 8), np.uint8), [[1, 1, 6, 6]]).shape
    (8, 8, 3)
    """
    corners = np.asarray([] if boxes is None else boxes, np.float64)
    corners = corners.reshape(-1, 4) if corners.size % 4 == 0 and corners.ndim < 3 else corners
    if corners.ndim != 2 or corners.shape[1] != 4 or not np.isfinite(corners).all():
        raise ValueError(f"expected boxes (xmin, ymin, xmax, ymax), got shape {corners.shape}")
    if (corners[:, :2] > corners[:, 2:]).any():
        raise ValueError("expected boxes with xmin <= xmax and ymin <= ymax; are they x, y, w, h?")
    if labels is not None and len(labels) != len(corners):
        raise ValueError(f"expected {len(corners)} labels, one for each box, got {len(labels)}")
    image = to_pil(convert(pixels, "RGB"))
    pen = ImageDraw.Draw(image)
    names = [str(label) for label in labels] if labels is not None else []
    kinds = list(dict.fromkeys(names))
    font = ImageFont.load_default() if names else None
    for n, box in enumerate(corners.tolist()):
        color = _COLORS[(kinds.index(names[n]) if names else n) % len(_COLORS)]
        pen.rectangle(box, outline=color, width=width)
        if names:
            place = (box[0] + width + 1, box[1] + width + 1)
            pen.rectangle(pen.textbbox(place, names[n], font=font), fill=color)
            pen.text(place, names[n], fill="white", font=font)
    return from_pil(image)


def draw_mask(
    pixels: Pixels,
    mask: npt.ArrayLike,
    color: str | Sequence[int] = "red",
    alpha: float = 0.5,
) -> npt.NDArray[np.uint8]:
    """Colour the part of the picture where `mask` is not zero.

    Parameters
    ----------
    pixels : ndarray
    mask : array-like of shape (H, W), or None
    color : str or tuple of int, default "red"
        A name or ``#rrggbb`` that Pillow knows, or ``(red, green, blue)``.
    alpha : float, default 0.5
        0 shows the picture alone, 1 the colour alone.

    Returns
    -------
    ndarray
        8-bit RGB.

    Raises
    ------
    ValueError
        For a mask of another size, an alpha outside 0 to 1, or an unknown colour.

    Examples
    --------
    >>> draw_mask(np.zeros((1, 2), np.uint8), [[True, False]])[0].tolist()
    [[128, 0, 0], [0, 0, 0]]
    """
    if mask is None:
        return convert(pixels, "RGB")
    chosen = np.asarray(mask)
    if chosen.ndim == 3 and chosen.shape[2] == 1:
        chosen = chosen[:, :, 0]
    if chosen.shape != check_pixels(pixels).shape[:2]:
        raise ValueError(
            f"expected a mask of the picture's size {pixels.shape[:2]}, got {chosen.shape}"
        )
    if not 0 <= alpha <= 1:
        raise ValueError(f"expected an alpha from 0 to 1, got {alpha!r}")
    rgb = color_of(color)
    result = np.array(convert(pixels, "RGB"))
    chosen = chosen != 0
    part = result[chosen] * np.float32(1 - alpha) + np.array(rgb, np.float32) * np.float32(alpha)
    result[chosen] = fitted(np.floor(part + np.float32(0.5)), result.dtype)
    return result


def color_of(color: str | Sequence[int]) -> tuple[int, ...]:
    """Red, green and blue of a colour.

    Raises
    ------
    ValueError
        For a name that Pillow does not know, or other than three numbers.

    Examples
    --------
    >>> color_of("red"), color_of("#0f0")
    ((255, 0, 0), (0, 255, 0))
    """
    rgb = ImageColor.getrgb(color)[:3] if isinstance(color, str) else tuple(color)
    if len(rgb) != 3:
        raise ValueError(f"expected a color (red, green, blue), got {color!r}")
    return rgb
