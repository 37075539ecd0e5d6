"""Colour, filters, drawing, and functions of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from daskimg.accessor.base import Accessor, Number, number, per_row, values_of
from daskimg.engine.ops import cells_of
from daskimg.engine.program import Function
from daskimg.kernels import filters

__all__ = ["ColorOps"]


class ColorOps(Accessor):
    """Other pixels of the same picture."""

    # -- colour -------------------------------------------------------------------------------
    def convert(self, mode: str) -> Any:
        """Another colour mode: ``"L"``, ``"LA"``, ``"RGB"``, ``"RGBA"``, ``"I;16"``, ``"F"``.

        RGB to grey is ITU-R 601-2 luma, as Pillow's. ``"F"`` keeps the values in floats; the other
        modes have 8 bits, and ``"I;16"`` 16: values are scaled to them as by `astype`.

        Examples
        --------
        >>> pictures.img.convert("L").img.channels.tolist()
        [1, 1, <NA>]
        """
        cells_of(mode)
        return self._op("convert", mode)

    def astype(self, dtype: str) -> Any:
        """The same picture in another NumPy dtype.

        White is 255 in uint8, 65535 in uint16, True in bool. Floats and other integers keep the
        values they come from, so they tell by them what white is: the smallest of 1 (floats
        only), 255 and 65535 that no value of the picture exceeds twofold. To uint8 and uint16
        values are scaled from white to white, rounded and clipped: floats of 0 to 1, of 0 to 255
        and 16 bits come as the same 8-bit picture. Measures and all that draws, adjusts and
        normalizes go by that, too.

        Parameters
        ----------
        dtype : str or numpy.dtype

        Notes
        -----
        A float picture on the scale of 255 that is all but black (no value above 2) is taken for
        one of 0 to 1.

        Examples
        --------
        >>> pictures.img.astype("float32").img.max().tolist()
        [200.0, 50.0, nan]
        >>> unit = pictures.img.astype("float32").img.apply(lambda pixels: pixels / 255)
        >>> unit.img.astype("uint8").img.max().tolist()
        [200.0, 50.0, nan]
        """
        return self._op("astype", np.dtype(dtype).name)

    def normalize(self, mean: float | Sequence[float], std: float | Sequence[float]) -> Any:
        """``(pixels / white - mean) / std`` as float32, white being 255, 65535 or 1.

        That of uint8, uint16 and bool is known by dtype, of floats as `astype` says.

        Parameters
        ----------
        mean, std : float, or one per channel

        Examples
        --------
        >>> pictures.img.convert("RGB").img.normalize([0.5] * 3, [0.5] * 3).dtype
        image[float32]
        """
        dtype = self._series.dtype
        means, stds = values_of("mean", mean, dtype), values_of("std", std, dtype, 0, above=True)
        return self._op("normalize", _hashable(means), _hashable(stds))

    def adjust_brightness(self, factor: Number) -> Any:
        """Times `factor` (0 is black, 1 unchanged), as torchvision's.

        Examples
        --------
        >>> grey = pd.Series([np.full((1, 1), 100, "uint8")], dtype="image")
        >>> grey.img.adjust_brightness(1.5).iloc[0].to_numpy().item()
        150
        """
        return self._op("adjust_brightness", *number(0, factor=factor))

    def adjust_contrast(self, factor: Number) -> Any:
        """Away from the mean grey by `factor` (0 is grey, 1 unchanged), as torchvision's."""
        return self._op("adjust_contrast", *number(0, factor=factor))

    def adjust_saturation(self, factor: Number) -> Any:
        """Away from its own grey by `factor` (0 is grey, 1 unchanged), as torchvision's."""
        return self._op("adjust_saturation", *number(0, factor=factor))

    def adjust_hue(self, factor: Number) -> Any:
        """Hue turned by `factor` (-0.5 to 0.5) of the circle, as torchvision's."""
        return self._op("adjust_hue", *number(-0.5, 0.5, factor=factor))

    def equalize(self) -> Any:
        """Histogram equalised per channel, as Pillow's ``ImageOps.equalize``.

        Of floats, and of integers but uint8 and uint16, in 256 steps.
        """
        return self._op("equalize")

    # -- filters ------------------------------------------------------------------------------
    def blur(self, sigma: float) -> Any:
        """Gaussian blur; `sigma` in pixels."""
        return self._op("blur", *number(0, sigma=sigma))

    def sharpen(self, amount: float) -> Any:
        """Sharpened by `amount` (0 unchanged), clipped to black and white."""
        return self._op("sharpen", *number(0, amount=amount))

    def edges(self, low: float, high: float) -> Any:
        """Canny's edges (uint8, 0 or 255); thresholds on the gradient of 0-255 grey."""
        ends = number(0, low=low, high=high)
        if not any(map(per_row, ends)) and low > high:
            raise ValueError(f"low is at most high; got {low!r} and {high!r}")
        return self._op("edges", *ends)

    # -- drawing ------------------------------------------------------------------------------
    def draw_boxes(self, boxes: Any, labels: Any = None) -> Any:
        """Boxes and their labels drawn on each picture (8-bit RGB).

        Parameters
        ----------
        boxes : Series of (n, 4) lists or arrays, or one list for all
            ``(xmin, ymin, xmax, ymax)`` in pixels, as torchvision's ``draw_bounding_boxes``; a
            null row draws nothing.
        labels : Series of lists, or one list for all, optional

        Examples
        --------
        >>> pictures.img.draw_boxes([[0, 0, 2, 2]]).img.channels.tolist()
        [3, 3, <NA>]
        """
        return self._op("draw_boxes", _frozen(boxes), _frozen(labels))

    def draw_mask(
        self, mask: Any, color: str | tuple[int, int, int] = "red", alpha: float = 0.5
    ) -> Any:
        """The part where `mask` is not zero, coloured (8-bit RGB).

        Parameters
        ----------
        mask : Series
            A mask of each picture's size: an image column, or (H, W) arrays; a null row colours
            nothing.
        color : str or (red, green, blue)
        alpha : float
            0 shows the picture alone, 1 the colour alone.

        Examples
        --------
        >>> dark = pictures.img.convert("L").img.apply(lambda pixels: pixels < 100)
        >>> pictures.img.draw_mask(dark, "red", 1.0).img.apply(
        ...     lambda pixels: pixels[0, 0].tolist(), dtype=object
        ... ).tolist()
        [[200, 200, 200], [255, 0, 0], None]
        """
        rgb = filters.color_of(color)  # raises for what is none
        return self._op("draw_mask", mask, rgb, *number(0, 1, alpha=alpha))

    # -- functions of the user's --------------------------------------------------------------
    def apply(self, func: Callable[[npt.NDArray[Any]], Any], dtype: Any = None) -> Any:
        """`func` of each picture's pixels.

        Parameters
        ----------
        func : callable
            Takes an (H, W[, C]) array, read-only: ``.copy()`` what it changes. On a cluster it has
            to be picklable.
        dtype : dtype, optional
            Of the result; None: `func` returns pixels. Under ``on_error="null"`` whole numbers and
            booleans of NumPy become nullable, ``Int64`` for ``int64``: a failed row has no value.

        Examples
        --------
        >>> pictures.img.apply(lambda pixels: pixels.size, dtype="Int64").tolist()
        [72, 6, <NA>]
        """
        target = None if dtype is None else pd.api.types.pandas_dtype(dtype)
        return self._op("apply", Function(func), target)


def _hashable(value: float | Sequence[float]) -> float | tuple[float, ...]:
    return tuple(map(float, value)) if np.iterable(value) else float(value)  # type: ignore[arg-type]


def _frozen(value: Any) -> Any:
    """A list as a tuple of tuples, which a program can hold; a Series stays what it is."""
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(_frozen(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value
