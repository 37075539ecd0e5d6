"""Geometry. Sizes are (height, width)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from daskimg.accessor.base import Accessor, Number, number, size_of, values_of, whole
from daskimg.kernels import resizing

__all__ = ["GeometryOps"]


class GeometryOps(Accessor):
    """Another size, another part, another side up."""

    # -- geometry -----------------------------------------------------------------------------
    def resize(
        self,
        height: int | Sequence[int],
        width: int | None = None,
        *,
        fit: Literal["stretch", "contain", "cover", "pad"] = "stretch",
        resample: str = "bilinear",
    ) -> Any:
        """Another size.

        Parameters
        ----------
        height, width : int
            Pixels, or a pair ``(height, width)`` as the first; `width` None keeps the aspect.
        fit : {"stretch", "contain", "cover", "pad"}
            Stretch to the size; fit inside it; cover it and crop the centre; fit inside it and
            pad with black. All but "contain" give exactly ``height`` x ``width``.
        resample : str
            ``"bilinear"`` (antialiased, as Pillow's), ``"nearest"``, ``"bicubic"``,
            ``"lanczos"``, ``"box"``, ``"hamming"``.

        Raises
        ------
        ValueError
            At the call, for a size of zero or below, or none of whole numbers.

        Examples
        --------
        >>> pictures.img.decode("RGB").img.resize(2, 3).dtype
        image[uint8, 2x3x3]
        """
        if width is None and not hasattr(height, "__len__"):
            (high,), wide = whole(1, False, height=height), None
        else:
            high, wide = size_of("resize", height, width)
        resizing.resize_shape(1, 1, high, wide, fit)  # raises for what is no fit
        if resample not in resizing.RESAMPLES:
            raise ValueError(
                f"resample is one of {', '.join(resizing.RESAMPLES)}; got {resample!r}"
            )
        return self._op("resize", high, wide, fit, resample)

    def crop(self, top: Number, left: Number, height: Number, width: Number) -> Any:
        """The part of each picture that starts at row `top` and column `left`.

        Each parameter is a number, or a Series with one for each picture.

        Examples
        --------
        >>> pictures.img.crop(0, 1, 2, 2).img.width.tolist()
        [2, 2, <NA>]
        """
        corner = whole(0, top=top, left=left)
        return self._op("crop", *corner, *whole(1, height=height, width=width))

    def center_crop(self, height: Number, width: Number = None) -> Any:
        """The central `height` x `width` pixels; a pair ``(height, width)`` is taken, too.

        Examples
        --------
        >>> pictures.img.center_crop(2, 2).img.height.tolist()
        [2, 2, <NA>]
        """
        return self._op("center_crop", *size_of("center_crop", height, width, True))

    def pad(
        self, top: int, right: int, bottom: int, left: int, fill: float | tuple[float, ...] = 0
    ) -> Any:
        """Each picture with a border (pixels on each side, in CSS order).

        `fill` is on the scale of the pixels: white is 255 in 8 bits.

        Examples
        --------
        >>> pictures.img.pad(1, 0, 1, 0).img.height.tolist()
        [6, 4, <NA>]
        """
        sides = whole(0, top=top, right=right, bottom=bottom, left=left)
        return self._op("pad", *sides, values_of("fill", fill, self._series.dtype))

    def flip(self, direction: Literal["horizontal", "vertical"] = "horizontal") -> Any:
        """Mirror left and right (``"horizontal"``), or top and bottom (``"vertical"``).

        Examples
        --------
        >>> pd.Series([np.array([[1, 2]], "uint8")], dtype="image").img.flip().iloc[0].to_numpy()
        array([[2, 1]], dtype=uint8)
        """
        if direction not in ("horizontal", "vertical"):
            raise ValueError(f'direction is "horizontal" or "vertical"; got {direction!r}')
        return self._op("flip", direction)

    def rotate(
        self, degrees: Number, expand: bool = False, fill: float | tuple[float, ...] = 0
    ) -> Any:
        """Turn counter-clockwise about the centre.

        Parameters
        ----------
        degrees : float, or Series of float
        expand : bool
            Grow the picture to hold all of it; else its size stays and corners are cut.
        fill : float or tuple
            Value of the pixels outside, on their scale: white is 255 in 8 bits.

        Examples
        --------
        >>> pictures.img.rotate(90, expand=True).img.height.tolist()
        [6, 3, <NA>]
        """
        filled = values_of("fill", fill, self._series.dtype)
        return self._op("rotate", *number(degrees=degrees), bool(expand), filled)
