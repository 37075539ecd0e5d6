"""The scalar of an image column."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from daskimg import config
from daskimg.column.html import figure
from daskimg.errors import ImageError, brief, quoted, reason_of
from daskimg.guard import isolate
from daskimg.kernels import codec, color, headers
from daskimg.kernels.geometry import turn
from daskimg.kernels.inline import inline
from daskimg.kernels.reader import image_pixels
from daskimg.kernels.resizing import Size
from daskimg.secrets import mask_url
from daskimg.transport import fetch
from daskimg.transport.stores import is_here

__all__ = ["LARGEST", "Image", "pixels_of"]

SHOWN = 512  # pixels of a side of one picture in a notebook
LARGEST = 64 * 2**20  # bytes of a file that is opened because a notebook shows its cell


def pixels_of(picture: Any) -> npt.NDArray[Any]:
    """Pixels of a Pillow image (palette and CMYK as RGB, bilevel as grey) or of any array."""
    if isinstance(picture, PIL.Image.Image):
        return image_pixels(picture, picture.format or "")
    return np.asarray(picture)


def _decoded(data: bytes, sizes: Sequence[Size] = ()) -> npt.NDArray[Any]:
    """The picture of a file's bytes, by the settings in force; as large as resizes need it."""
    how, child = config.settings()._asdict(), config.isolation()
    if child is None:
        draft = codec.draft(data, sizes, **how)
    else:
        draft = isolate.draft(data, sizes, timeout=child[0], **how)
    return turn(draft.pixels, draft.orientation)


def _boxed(value: Any) -> npt.NDArray[np.object_]:
    """An array of no axes that holds `value` itself."""
    box = np.empty((), object)
    box[()] = value
    return box


def _beside_objects(values: Sequence[Any]) -> Sequence[Any]:
    """Operands of NumPy: beside an array of objects, a picture is one of them."""
    if any(isinstance(x, np.ndarray) and x.dtype == object for x in values):
        return [_boxed(x) if isinstance(x, Image) else x for x in values]
    return [np.asarray(x) if isinstance(x, Image) else x for x in values]


class Image:
    """One cell of an image column: a path, encoded bytes, pixels or a recorded failure.

    Parameters
    ----------
    data : array, PIL.Image.Image, bytes or None
        Pixels (HWC, or HW for grey), or the bytes of an encoded picture. None: only a path, or
        a failure.
    path : str, optional
        Where it came from.
    error : str, optional
        Why it failed; with `data`, a warning (a picture decoded in part).
    source : fetch.Source, optional
        Credentials of `path`, and the stores that they are for.

    Examples
    --------
    >>> picture = Image(np.zeros((2, 3, 3), "uint8"))
    >>> picture
    <Image 2x3x3 uint8>
    >>> picture.to_pil().size, np.asarray(picture).shape
    ((3, 2), (2, 3, 3))
    """

    __slots__ = ("_data", "_source", "error", "path")

    def __init__(
        self,
        data: Any = None,
        path: str | None = None,
        error: str | None = None,
        source: fetch.Source | None = None,
    ) -> None:
        if isinstance(data, str | os.PathLike):
            raise TypeError(
                f"expected pixels or bytes, got a path: Image(path={quoted(os.fspath(data))})"
            )
        if isinstance(data, bytearray | memoryview):
            data = bytes(data)
        if data is not None and not isinstance(data, bytes):
            data = pixels_of(data).view()
            if data.dtype.kind not in "biuf" or not data.ndim:
                raise TypeError(f"expected pixels or bytes, got an array of {data.dtype}")
            data.flags.writeable = False  # scalars hash by content
        self._data: bytes | npt.NDArray[Any] | None = data
        self.path = None if path is None else os.fspath(path)
        self.error, self._source = error, source

    def __reduce__(self) -> tuple[Any, ...]:  # (a pickled array forgets that it is read-only)
        return Image, (self._data, self.path, self.error, self._source)

    @property
    def failed(self) -> bool:
        """Whether this cell is a failure (no picture, and a reason)."""
        return self._data is None and self.error is not None

    @property
    def data(self) -> bytes | npt.NDArray[Any] | None:
        """What the cell holds: pixels, bytes or (a path only, a failure) None."""
        return self._data

    @property
    def source(self) -> str | None:
        """The handle of what `path` is opened with."""
        return None if self._source is None else self._source.handle

    def kept_to(self, source: fetch.Source) -> Image:
        """The same cell, whose path is opened where `source` allows it."""
        return Image(self._data, self.path, self.error, source)

    def to_bytes(self) -> bytes:
        """The encoded bytes; read from `path` if need be, PNG when the cell holds pixels.

        Raises
        ------
        ImageError
            When the cell is a failure.
        OSError
            When its file cannot be read.
        """
        if isinstance(self._data, np.ndarray):
            return codec.encode(self._data, "png")
        return self._bytes()

    def _bytes(self, most: int | None = None) -> bytes:
        """What the cell holds, or its file, of `most` bytes."""
        if isinstance(self._data, bytes):
            return self._data
        if self.failed or self.path is None:
            raise ImageError(self.error or "read: the cell is empty", self.path)
        if (held := inline(self.path)) is not None:
            return held
        source = (self._source or fetch.Source.default).allowing(config.allow_paths())
        caps = [cap for cap in (most, config.max_bytes()) if cap is not None]
        at = fetch.for_cell(self.path, source)
        return fetch.read_bytes(self.path, at, max_bytes=min(caps, default=None))

    def to_numpy(self) -> npt.NDArray[Any]:
        """The pixels, HWC (HW for grey), read-only; decoded if need be, by the settings in force.

        Raises
        ------
        ImageError
            When the cell is a failure.
        OSError, ValueError
            When its file cannot be read, or decoded; a note names the file.
        """
        if isinstance(self._data, np.ndarray):
            return self._data
        data = self._bytes()
        try:
            pixels = _decoded(data)
        except Exception as error:
            if self.path is not None:
                error.add_note(f"The picture is {brief(mask_url(self.path), 300)}")
            raise
        pixels.flags.writeable = False
        return pixels

    # -- NumPy's protocols: the pixels, but among objects a picture is one object -----------------
    # pandas makes object arrays of scalars and asks whether one is missing: with a plain
    # `__array__` it would find pixels there.
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        asks = sys._getframe(1).f_globals.get("__name__")  # pandas, whether cells make an array
        if asks == "pandas.core.common" or (dtype is not None and np.dtype(dtype) == object):
            return _boxed(self)
        if copy is False and not isinstance(self._data, np.ndarray):
            raise ValueError("the pixels of this cell are made when they are asked for: a copy")
        return np.array(self.to_numpy(), dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return getattr(ufunc, method)(*_beside_objects(inputs), **options)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return func.__wrapped__(*_beside_objects(args), **kwargs)

    def __float__(self) -> float:
        # what has it is a scalar to pandas, which is asked for missing values as a whole
        raise TypeError(
            "a picture is no number; .to_numpy() gives its pixels, .img of a column measures"
        )

    def to_pil(self) -> PIL.Image.Image:
        """A Pillow image; pixels of a kind that Pillow has no mode for, in 8 bits.

        Raises
        ------
        ValueError
            For pixels of more than four channels.
        """
        pixels = self.to_numpy()
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        if pixels.ndim == 3 and pixels.shape[2] > 4:
            raise ValueError(f"a Pillow image has up to 4 channels; got shape {pixels.shape}")
        held = ("bool", "uint8", "uint16", "float32") if pixels.ndim == 2 else ("uint8",)
        return PIL.Image.fromarray(pixels if pixels.dtype in held else color.to_uint8(pixels))

    def thumbnail(self, side: int = 160, max_bytes: int | None = None) -> PIL.Image.Image:
        """A small picture to look at, in 8 bits; a JPEG is decoded at a reduced scale.

        Parameters
        ----------
        side : int
            The most pixels of a side.
        max_bytes : int, optional
            A larger file is not opened.

        Returns
        -------
        PIL.Image.Image

        Raises
        ------
        ImageError
            When the cell is a failure.
        OSError, ValueError
            When it cannot be opened, or shown.

        Examples
        --------
        >>> Image(np.zeros((300, 400), "uint16")).thumbnail().size
        (160, 120)
        """
        return self._look(side, max_bytes)[0]

    @property
    def at_hand(self) -> bool:
        """Whether the picture can be looked at without asking a store on the network for it."""
        if self._data is not None or self.path is None:
            return self._data is not None
        return inline(self.path) is not None or is_here(self.path)

    def _look(self, side: int, most: int | None = None) -> tuple[PIL.Image.Image, str]:
        """A small picture, and what there is to say of the large one."""
        pixels = self._data
        if isinstance(pixels, np.ndarray):
            told = f"{'x'.join(map(str, pixels.shape))} {pixels.dtype}"
        else:
            data = self._bytes(most)
            height, width, _, mode, kind = headers.read_header(data, **config.settings()._asdict())
            told = f"{height}x{width} {mode}, {kind}, {len(data):,} bytes"
            pixels = _decoded(data, [(side, side, "contain")])
        picture = Image(color.to_uint8(pixels)).to_pil()
        picture.thumbnail((side, side))
        return picture, told

    def _repr_png_(self) -> bytes | None:
        if not self.at_hand:
            return None
        try:
            picture = self.thumbnail(SHOWN, LARGEST)
        except (ValueError, OSError):  # then a notebook shows the repr
            return None
        out = io.BytesIO()
        picture.save(out, "png")
        return out.getvalue()

    def _repr_html_(self) -> str:
        """The picture with its size, mode and path, or why there is none."""
        path = brief(mask_url(self.path), 200) if self.path else ""
        if self.path is not None and inline(self.path) is not None:
            path = ""
        if self.failed:
            return figure(None, mask_url(str(self.error)), path)
        if not self.at_hand:
            return figure(None, "not fetched; .to_pil() or .thumbnail() does", path)
        try:
            picture, told = self._look(SHOWN, LARGEST)
        except Exception as error:  # whatever it is: the notebook goes on
            return figure(None, mask_url(reason_of("decode", error)), path)
        warning = f"; {mask_url(self.error)}" if self.error else ""
        return figure(picture, "", f"{told}{warning}{' · ' if path else ''}{path}")

    def __repr__(self) -> str:
        path = f" {brief(mask_url(self.path), 200)}" if self.path else ""
        if self.failed:
            return f"<Image failed{path}: {brief(mask_url(str(self.error)), 300)}>"
        if self._data is None:
            return f"<Image{path}>"
        if isinstance(self._data, bytes):
            return f"<Image {len(self._data)} bytes{path}>"
        size = "x".join(map(str, self._data.shape))
        return f"<Image {size} {self._data.dtype}{path}>"

    def _content(self) -> tuple[Any, ...]:
        if isinstance(self._data, np.ndarray):
            return (self._data.shape, str(self._data.dtype), self._data.tobytes(), None)
        return (None, None, self._data, self.path if self._data is None else None)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Image):
            return NotImplemented
        return self._content() == other._content() and (self.failed == other.failed)

    def __hash__(self) -> int:
        return hash(self._content())
