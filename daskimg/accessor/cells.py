"""Header fields, recorded failures, and the kinds of cell."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from daskimg.accessor.base import Accessor
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype, check_policy
from daskimg.column.storage import Uniform
from daskimg.engine.ops import cells_of
from daskimg.engine.program import Program
from daskimg.errors import quoted
from daskimg.kernels import codec

__all__ = ["CellOps"]


class CellOps(Accessor):
    """What a cell is, and the same cell as bytes, pixels or a file."""

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

    def to_device(self, device: str) -> Any:
        """The same column: cells are in main memory, whatever the device.

        Pictures come to a GPU where something there takes them, batch by batch:
        ``df.img.map_batches(function, batch_format="torch", num_gpus=1)`` and
        ``df.img.iter_torch_batches(device="cuda")``. With "cuda" a warning says so.

        Parameters
        ----------
        device : {"cpu", "cuda"}

        Examples
        --------
        >>> pictures.img.to_device("cpu").equals(pictures)
        True
        """
        kind = device.partition(":")[0] if isinstance(device, str) else device
        if kind not in ("cpu", "cuda"):
            raise ValueError(f'device is "cpu" or "cuda"; got {quoted(device)}')
        if kind == "cuda":
            warnings.warn(
                "an image column stays in main memory: df.img.map_batches(function, "
                'batch_format="torch", num_gpus=1) and df.img.iter_torch_batches(device="cuda") '
                "bring its pictures to a GPU",
                stacklevel=2,
            )
        return self._series

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
        dtype = self._series.dtype
        codec.check_format(file_format, quality, dtype.cell_dtype, dtype.channels)
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
            ``(N, H, W[, C])`` where all pictures have one shape and dtype (of a column of one
            shape a read-only view, no copy), else an object array of read-only arrays.

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

    def to_dask_array(
        self, lengths: bool | Sequence[int] | None = True, na_value: Any = None
    ) -> Any:
        """Pixels of one shape as a Dask array, ``(N, H, W[, C])``.

        Parameters
        ----------
        lengths : bool or sequence of int, optional
            Rows of each partition: True counts them now (no picture is read for that, unless a
            filter asks for it), None leaves them unknown.
        na_value : scalar, optional
            Fills null cells; without it they raise when the array is computed.

        Returns
        -------
        dask.array.Array
            With a chunk for each partition.

        Raises
        ------
        ValueError
            When the dtype tells no common shape: `resize` first.

        Examples
        --------
        >>> pictures.iloc[:2].img.convert("L").img.resize(4, 4).img.to_dask_array().shape
        (2, 4, 4)
        """
        return self._dask_array(lengths, na_value)

    def _dask_array(self, lengths: bool | Sequence[int] | None, na_value: Any) -> Any:
        import dask.array as da

        pixels = self.to_numpy(na_value)
        if pixels.dtype == object:
            raise ValueError("an array has one shape, and pictures differ: resize() them first")
        return da.from_array(pixels, chunks=("auto", *(-1 for _ in pixels.shape[1:])))


def _stack(cells: ImageArray, na_value: Any) -> npt.NDArray[Any]:
    """Pixels of a column as one array, or an object array where shapes differ."""
    null = cells.isna()
    if null.any() and na_value is None:
        raise ValueError(
            f"{int(null.sum())} of {len(cells)} cells are null; drop them, or give na_value="
        )
    if isinstance(cells.data, Uniform):
        if null.any():
            values = cells.data.values.copy()
            values[null] = na_value
            return values
        view = cells.data.values.view()
        view.flags.writeable = False  # as pandas' to_numpy(): it is the column's own memory
        return view
    data = cells.as_ragged()
    rows = np.flatnonzero(~null)
    arrays = [data.cell(int(i)) for i in rows]
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
        pixels.flags.writeable = False  # it is the column's own memory here too
        values[i] = pixels
    return values
