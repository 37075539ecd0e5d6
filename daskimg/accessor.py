"""``.img`` on a Series. Written once: pandas runs an op at once, Dask adds it to the program."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.api.extensions import register_series_accessor

from daskimg import onepass
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype, check_policy
from daskimg.column.storage import Uniform
from daskimg.kernels import geometry
from daskimg.program import Function, Program, Row, build, cells_of

__all__ = ["MEASURES", "ImageAccessor"]

Number = Any  # a number, or a Series with one per picture
MEASURES = (
    "mean",
    "std",
    "min",
    "max",
    "brightness",
    "contrast",
    "sharpness",
    "entropy",
    "colorfulness",
)


@register_series_accessor("img")
class ImageAccessor:
    """Operations on the pictures of a column, the same on pandas and on Dask.

    Every op returns a Series on the same rows. An op on pictures that are not decoded yet
    decodes them; all ops of a Dask frame on one column share one reading and one decoding.

    Sizes are ``(height, width)``; pixels are ``(H, W, C)``, grey ``(H, W)``. A null cell stays
    null. A picture that fails raises `ImageError`, or becomes null with its reason in
    ``.img.error`` where the column's policy is ``"null"``.

    Raises
    ------
    AttributeError
        On a Series of another dtype.
    """

    def __init__(self, series: Any) -> None:
        if not isinstance(series.dtype, ImageDtype):
            raise AttributeError(
                f"Can only use .img on an image column; {series.name!r} is {series.dtype}. "
                'Make one of paths or bytes with di.images(series) or astype("image[encoded]").'
            )
        self._series = series

    # -- the two places that differ between pandas and Dask -----------------------------------
    def _run(self, program: Program, args: Sequence[Any]) -> Any:
        return onepass.run(self._series, [program], *args)[0]

    def _cells(self, what: str) -> ImageArray:
        """The column in memory, for what cannot be lazy."""
        cells: ImageArray = self._series.array
        return cells

    def _op(self, name: str, *params: Any) -> Any:
        args: list[Any] = []
        marked = []
        for value in params:
            if isinstance(value, pd.Series) or hasattr(value, "dask"):
                marked.append(Row(len(args)))
                args.append(value)
            else:
                marked.append(value)
        return self._run(build(self._series.dtype, name, *marked), args)

    # -- header fields: nothing is decoded ----------------------------------------------------
    @property
    def height(self) -> Any:
        """Rows of pixels (Int64), from the header; after EXIF orientation.

        Examples
        --------
        >>> pictures.img.height.tolist()
        [4, 2, <NA>]
        """
        return self._op("height")

    @property
    def width(self) -> Any:
        """Columns of pixels (Int64), from the header; after EXIF orientation.

        Examples
        --------
        >>> pictures.img.width.tolist()
        [6, 3, <NA>]
        """
        return self._op("width")

    @property
    def channels(self) -> Any:
        """Channels that the decoded picture has (Int64): 1 for grey, 3 for RGB and palette.

        Examples
        --------
        >>> pictures.img.channels.tolist()
        [3, 1, <NA>]
        """
        return self._op("channels")

    @property
    def mode(self) -> Any:
        """Colour mode (string): of the file, as Pillow names it (``P``, ``CMYK``), or of pixels.

        Examples
        --------
        >>> pictures.img.mode.tolist()
        ['RGB', 'L', <NA>]
        """
        return self._op("mode")

    @property
    def format(self) -> Any:
        """File format by content (string): ``JPEG``, ``PNG``, ...; null for pixels.

        Examples
        --------
        >>> pictures.img.encode("png").img.format.tolist()
        ['PNG', 'PNG', <NA>]
        """
        return self._op("format")

    @property
    def nbytes(self) -> Any:
        """Bytes of the file, of the encoded picture or of the pixels (Int64).

        Examples
        --------
        >>> pictures.img.nbytes.tolist()
        [72, 6, <NA>]
        """
        return self._op("nbytes")

    # -- what is recorded: nothing is read ----------------------------------------------------
    @property
    def path(self) -> Any:
        """Where each cell came from (string), failed cells too.

        Examples
        --------
        >>> di.images(pd.Series(["a.jpg", None])).img.path.tolist()
        ['a.jpg', <NA>]
        """
        return self._op("path")

    @property
    def error(self) -> Any:
        """The recorded reason of a failed cell (string), null elsewhere. Reads nothing.

        Examples
        --------
        >>> broken = pd.Series([b"not a picture"], dtype="image").img.on_error("null")
        >>> broken.img.error.isna().tolist()  # nobody has looked into it yet
        [True]
        >>> broken.img.decode().img.error.tolist()
        ["decode: UnidentifiedImageError: cannot identify image file: expected JPEG, ...]
        """
        return self._op("error")

    @property
    def failed(self) -> Any:
        """Whether a cell is null for a recorded reason (bool). Reads nothing.

        Examples
        --------
        >>> pictures.img.failed.tolist()  # the third is missing, not failed
        [False, False, False]
        """
        return self._op("failed")

    def check(self) -> Any:
        """The reason why a cell fails to decode (string); null where it decodes.

        Never raises, whatever the column's policy; on Dask it shares the pass of the measures
        beside it, so that ``df[df.image.img.check().isna()]`` goes on with the good rows.

        Examples
        --------
        >>> pd.Series([b"not a picture"], dtype="image").img.check().tolist()
        ["decode: UnidentifiedImageError: cannot identify image file: expected JPEG, ...]
        """
        return self._op("check")

    def on_error(self, policy: Literal["raise", "null"]) -> Any:
        """The same column under another error policy.

        Parameters
        ----------
        policy : {"raise", "null"}

        Examples
        --------
        >>> pd.Series([b"?"], dtype="image").img.on_error("null").img.mean().tolist()
        [nan]
        """
        dtype: ImageDtype = self._series.dtype
        target = dtype.derive(dtype.cells, dtype.shape, on_error=check_policy(policy) or "raise")
        return self._run(Program((), target), [])

    # -- kinds of cell ------------------------------------------------------------------------
    def read(self) -> Any:
        """Encoded bytes of each file (``image[encoded]``), fetched and not decoded.

        Examples
        --------
        >>> encoded = pictures.img.encode("png")
        >>> encoded.img.read().dtype
        image[encoded]
        """
        return self._op("read")

    def to_bytes(self) -> Any:
        """Encoded bytes as a plain column (``large_binary[pyarrow]``); pixels as PNG.

        Examples
        --------
        >>> pictures.img.to_bytes().iloc[0][:4]
        b'\\x89PNG'
        """
        return self._op("to_bytes")

    def decode(
        self, mode: str | None = None, truncated: Literal["error", "partial"] = "error"
    ) -> Any:
        """Pixels of each picture.

        Parameters
        ----------
        mode : str, optional
            ``"RGB"``, ``"L"``, ``"RGBA"``, ``"LA"``, ``"I;16"``, ``"F"``; None keeps each
            picture's own (palette becomes RGB or RGBA, CMYK becomes RGB, 16-bit grey stays).
        truncated : {"error", "partial"}
            What a file that ends early is: a failure, or the part that is there.

        Returns
        -------
        Series
            ``image[pixels]``, or of the mode's dtype (``image[uint8]``).

        Examples
        --------
        >>> pictures.img.encode("png").img.decode("RGB").dtype
        image[uint8]
        """
        if mode is not None:
            cells_of(mode)
        if truncated not in ("error", "partial"):
            raise ValueError(f'truncated is "error" or "partial"; got {truncated!r}')
        return self._op("decode", mode, truncated == "partial")

    def encode(self, file_format: str = "jpeg", quality: int = 90) -> Any:
        """Each picture as the bytes of a file (``image[encoded]``).

        Parameters
        ----------
        file_format : str
            ``"jpeg"``, ``"png"``, ``"webp"``, ``"tiff"``, ``"bmp"``, ``"gif"``.
        quality : int
            1 to 100, for the formats that lose detail.

        Examples
        --------
        >>> pictures.img.encode("webp", quality=80).img.format.iloc[0]
        'WEBP'
        """
        return self._op("encode", file_format, quality)

    def to_numpy(self, na_value: Any = None) -> npt.NDArray[Any]:
        """All pixels as one array.

        Parameters
        ----------
        na_value : scalar, optional
            Fills null cells (every pixel of them).

        Returns
        -------
        ndarray
            ``(N, H, W[, C])`` where all pictures have one shape and dtype (a view, no copy, of a
            column of one shape), else an object array of arrays.

        Raises
        ------
        ValueError
            For null cells without `na_value`.

        Examples
        --------
        >>> pictures.iloc[:2].img.resize(4, 6).img.convert("L").img.to_numpy().shape
        (2, 4, 6)
        """
        cells = self._cells("to_numpy")
        if not cells.dtype.holds_pixels:
            cells = self._op("decode", None, False).array
        return _stack(cells, na_value)

    # -- geometry -----------------------------------------------------------------------------
    def resize(
        self,
        height: int,
        width: int | None = None,
        *,
        fit: Literal["stretch", "contain", "cover", "pad"] = "stretch",
        resample: str = "bilinear",
    ) -> Any:
        """Another size.

        Parameters
        ----------
        height, width : int
            Pixels; `width` None keeps the aspect.
        fit : {"stretch", "contain", "cover", "pad"}
            Stretch to the size; fit inside it; cover it and crop the centre; fit inside it and
            pad with black. All but "contain" give exactly ``height`` x ``width``.
        resample : str
            ``"bilinear"`` (antialiased, as Pillow's), ``"nearest"``, ``"bicubic"``,
            ``"lanczos"``, ``"box"``, ``"hamming"``.

        Raises
        ------
        ValueError
            At the call, for a size of zero or below.

        Examples
        --------
        >>> pictures.img.decode("RGB").img.resize(2, 3).dtype
        image[uint8, 2x3x3]
        """
        height = operator.index(height)
        width = None if width is None else operator.index(width)
        geometry.resize_shape(1, 1, height, width, fit)  # raises for what is no size or no fit
        if resample not in geometry.RESAMPLES:
            raise ValueError(
                f"resample is one of {', '.join(geometry.RESAMPLES)}; got {resample!r}"
            )
        return self._op("resize", height, width, fit, resample)

    def crop(self, top: Number, left: Number, height: Number, width: Number) -> Any:
        """The part of each picture that starts at row `top` and column `left`.

        Each parameter is a number, or a Series with one for each picture.

        Examples
        --------
        >>> pictures.img.crop(0, 1, 2, 2).img.width.tolist()
        [2, 2, <NA>]
        """
        return self._op("crop", top, left, height, width)

    def center_crop(self, height: Number, width: Number) -> Any:
        """The central `height` x `width` pixels.

        Examples
        --------
        >>> pictures.img.center_crop(2, 2).img.height.tolist()
        [2, 2, <NA>]
        """
        return self._op("center_crop", height, width)

    def pad(
        self, top: int, right: int, bottom: int, left: int, fill: float | tuple[float, ...] = 0
    ) -> Any:
        """Each picture with a border (pixels on each side, in CSS order).

        Examples
        --------
        >>> pictures.img.pad(1, 0, 1, 0).img.height.tolist()
        [6, 4, <NA>]
        """
        return self._op("pad", top, right, bottom, left, fill)

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
            Value of the pixels outside.

        Examples
        --------
        >>> pictures.img.rotate(90, expand=True).img.height.tolist()
        [6, 3, <NA>]
        """
        return self._op("rotate", degrees, expand, fill)

    # -- colour -------------------------------------------------------------------------------
    def convert(self, mode: str) -> Any:
        """Another colour mode: ``"L"``, ``"LA"``, ``"RGB"``, ``"RGBA"``, ``"I;16"``, ``"F"``.

        RGB to grey is ITU-R 601-2 luma, as Pillow's; 16 bits to 8 divides by 257.

        Examples
        --------
        >>> pictures.img.convert("L").img.channels.tolist()
        [1, 1, <NA>]
        """
        cells_of(mode)
        return self._op("convert", mode)

    def astype(self, dtype: str) -> Any:
        """Pixels cast to a NumPy dtype, values unscaled (floats to integers round and clip).

        Examples
        --------
        >>> pictures.img.astype("float32").dtype
        image[float32]
        """
        return self._op("astype", np.dtype(dtype).name)

    def normalize(self, mean: float | Sequence[float], std: float | Sequence[float]) -> Any:
        """``(pixels / full - mean) / std`` as float32, full being 255, 65535 or 1 by dtype.

        Parameters
        ----------
        mean, std : float, or one per channel

        Examples
        --------
        >>> pictures.img.convert("RGB").img.normalize([0.5] * 3, [0.5] * 3).dtype
        image[float32]
        """
        return self._op("normalize", _hashable(mean), _hashable(std))

    def adjust_brightness(self, factor: Number) -> Any:
        """Times `factor` (0 is black, 1 unchanged), as torchvision's.

        Examples
        --------
        >>> grey = pd.Series([np.full((1, 1), 100, "uint8")], dtype="image")
        >>> grey.img.adjust_brightness(1.5).iloc[0].to_numpy().item()
        150
        """
        return self._op("adjust_brightness", factor)

    def adjust_contrast(self, factor: Number) -> Any:
        """Away from the mean grey by `factor` (0 is grey, 1 unchanged), as torchvision's."""
        return self._op("adjust_contrast", factor)

    def adjust_saturation(self, factor: Number) -> Any:
        """Away from its own grey by `factor` (0 is grey, 1 unchanged), as torchvision's."""
        return self._op("adjust_saturation", factor)

    def adjust_hue(self, factor: Number) -> Any:
        """Hue turned by `factor` (-0.5 to 0.5) of the circle, as torchvision's."""
        return self._op("adjust_hue", factor)

    def equalize(self) -> Any:
        """Histogram equalised per channel, as Pillow's ``ImageOps.equalize``."""
        return self._op("equalize")

    # -- filters ------------------------------------------------------------------------------
    def blur(self, sigma: float) -> Any:
        """Gaussian blur; `sigma` in pixels."""
        return self._op("blur", sigma)

    def sharpen(self, amount: float) -> Any:
        """Sharpened by `amount` (0 unchanged)."""
        return self._op("sharpen", amount)

    def edges(self, low: float, high: float) -> Any:
        """Canny's edges (uint8, 0 or 255); thresholds on the gradient of 0-255 grey."""
        return self._op("edges", low, high)

    def apply(self, func: Callable[[npt.NDArray[Any]], Any], dtype: Any = None) -> Any:
        """`func` of each picture's pixels.

        Parameters
        ----------
        func : callable
            Takes an (H, W[, C]) array it must not change; on a cluster it has to be picklable.
        dtype : dtype, optional
            Of the result; None: `func` returns pixels.

        Examples
        --------
        >>> pictures.img.apply(lambda pixels: pixels.size, dtype="Int64").tolist()
        [72, 6, <NA>]
        """
        target = None if dtype is None else pd.api.types.pandas_dtype(dtype)
        return self._op("apply", Function(func), target)

    # -- measures -----------------------------------------------------------------------------
    def mean(self) -> Any:
        """Mean of all pixels and channels (float64).

        Examples
        --------
        >>> pictures.img.mean().tolist()
        [200.0, 50.0, nan]
        """
        return self._op("mean")

    def std(self) -> Any:
        """Standard deviation of all pixels and channels (float64; NumPy's, ddof 0)."""
        return self._op("std")

    def min(self) -> Any:
        """The smallest value of all pixels and channels (float64)."""
        return self._op("min")

    def max(self) -> Any:
        """The largest value of all pixels and channels (float64)."""
        return self._op("max")

    def brightness(self) -> Any:
        """Mean of luma (ITU-R 601), 0 to 255 (float64)."""
        return self._op("brightness")

    def contrast(self) -> Any:
        """Standard deviation of luma (ITU-R 601), on the scale 0 to 255 (float64)."""
        return self._op("contrast")

    def sharpness(self) -> Any:
        """Variance of the Laplacian of luma (float64): low for a blurred picture.

        As in Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
        """
        return self._op("sharpness")

    def entropy(self) -> Any:
        """Shannon entropy of the luma histogram, in bits (float64)."""
        return self._op("entropy")

    def colorfulness(self) -> Any:
        """Hasler and Suesstrunk's colourfulness, 2003 (float64): 0 for grey."""
        return self._op("colorfulness")

    def hash(self, kind: Literal["phash", "dhash", "ahash"] = "phash") -> Any:
        """A 64-bit perceptual hash (UInt64): few bits differ between similar pictures.

        Examples
        --------
        >>> pictures.img.hash("dhash").dtype
        UInt64Dtype()
        """
        if kind not in ("phash", "dhash", "ahash"):
            raise ValueError(f'kind is "phash", "dhash" or "ahash"; got {kind!r}')
        return self._op("hash", kind)

    def measures(self, names: Sequence[str] = MEASURES) -> Any:
        """Several measures as a frame, a column each, in one pass.

        Parameters
        ----------
        names : sequence of str
            Names of measures and header fields.

        Examples
        --------
        >>> pictures.img.measures(["height", "mean"])
           height   mean
        0       4  200.0
        1       2   50.0
        2    <NA>    NaN
        """
        known = {*MEASURES, "height", "width", "channels", "nbytes", "hash"}
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"measures are {', '.join(sorted(known))}; got {unknown}")
        columns = {}
        for name in names:
            value = getattr(self, name)
            columns[name] = value() if callable(value) else value
        return self._series.to_frame("image").assign(**columns)[list(names)]


def _hashable(value: float | Sequence[float]) -> float | tuple[float, ...]:
    return tuple(map(float, value)) if np.iterable(value) else float(value)  # type: ignore[arg-type]


def _stack(cells: ImageArray, na_value: Any) -> npt.NDArray[Any]:
    """Pixels of a column as one array, or an object array where shapes differ."""
    null = cells.isna()
    if null.any() and na_value is None:
        raise ValueError(
            f"{int(null.sum())} of {len(cells)} cells are null; drop them, or give na_value="
        )
    if isinstance(cells.data, Uniform):
        values = cells.data.values
        if null.any():
            values = values.copy()
            values[null] = na_value
        return values
    data = cells.as_ragged()
    rows = np.flatnonzero(~null)
    arrays = [data.cell(i) for i in rows]
    if arrays and len({(a.shape, a.dtype) for a in arrays}) == 1:
        values = np.empty((len(cells), *arrays[0].shape), arrays[0].dtype)
        for i, pixels in zip(rows, arrays, strict=True):
            values[i] = pixels
        if null.any():
            values[null] = na_value
        return values
    values = np.empty(len(cells), object)
    for i in np.flatnonzero(null):
        values[i] = na_value
    for i, pixels in zip(rows, arrays, strict=True):
        values[i] = pixels
    return values
