"""The dtype of an image column: what its cells hold, and what happens when one fails."""

from __future__ import annotations

import builtins
import json
import os.path
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionDtype, register_extension_dtype

from daskimg import config
from daskimg.errors import quoted
from daskimg.transport import fetch

if TYPE_CHECKING:
    import pyarrow as pa

    from daskimg.column.array import ImageArray

__all__ = [
    "ImageDtype",
    "check_policy",
    "common_root",
    "is_picture_shape",
    "nullable",
    "policy_of",
]

_NAME = re.compile(r"(image|tensor)(?:\[\s*(\w+)\s*(?:,\s*(\d+(?:\s*x\s*\d+)*)\s*)?\])?")
_KINDS = ("file", "encoded", "pixels", "mixed")
POLICIES = ("raise", "null")
CHANNELS = {"L": 0, "I;16": 0, "I": 0, "F": 0, "LA": 2, "RGB": 3, "RGBA": 4}


def check_policy(on_error: str | None) -> str | None:
    """Return `on_error`, or explain which values there are."""
    if on_error is not None and on_error not in POLICIES:
        raise ValueError(f'on_error is "raise" or "null"; got {quoted(on_error)}')
    return on_error


def policy_of(dtype: ImageDtype) -> str:
    """The error policy of a column: its own, else the setting's."""
    return dtype.on_error or check_policy(config.get("on-error")) or "raise"


def nullable(dtype: Any) -> Any:
    """The same values with room for nulls: ``Int64`` for ``int64``, ``boolean`` for ``bool``.

    Examples
    --------
    >>> nullable(np.dtype("uint8")), nullable(np.dtype("float32"))
    (UInt8Dtype(), dtype('float32'))
    """
    if not isinstance(dtype, np.dtype) or dtype.kind not in "biu":
        return dtype
    name = dtype.name.replace("int", "Int").replace("uInt", "UInt")
    return pd.api.types.pandas_dtype("boolean" if dtype.kind == "b" else name)


def common_root(roots: Iterable[str | None]) -> str | None:
    """The folder that all of these lie in; None where one of them is not known.

    Examples
    --------
    >>> common_root(["/shop/cats/", "/shop/cars/old/"]), common_root(["/shop/", None])
    ('/shop/', None)
    """
    known = ["" if root is None else root for root in roots]
    # of URLs too, so by characters; what is left of a name goes up to its slash
    common = os.path.commonprefix(known)  # noqa: RUF071
    return common[: common.rfind("/") + 1] or None


@register_extension_dtype
class ImageDtype(ExtensionDtype):
    """What the cells of an image (or tensor) column hold.

    Parameters
    ----------
    kind : str, default "pixels"
        ``"file"`` (a path, nothing fetched), ``"encoded"`` (bytes of a JPEG, PNG, ...),
        ``"pixels"`` (arrays, each cell its own shape and dtype) or the name of a NumPy dtype
        (``"uint8"``: pixels of one dtype). ``"mixed"``: each cell a path, bytes or pixels of
        its own, as columns of several kinds have it that were concatenated. ``"infer"`` lets
        the cells of a new column decide.
    shape : tuple of int, optional
        ``(height, width[, channels])`` where every cell has it, else None. Only with a NumPy
        dtype.
    tensor : bool, default False
        An array that is not a picture: an embedding, a stack of masks, CHW floats.
    on_error : {"raise", "null"}, optional
        What happens to a cell that fails; None follows ``daskimg.on-error``. Like
        `source`, `mode` and `root` it is no part of the dtype's name, equality or hash: columns
        of both policies concatenate (null wins).
    source : str, optional
        A handle of the credentials that `images` or a reader was given, and of the stores where
        cells may be opened; never a secret itself.
    mode : str, optional
        The colour mode of the pixels (``"RGB"``, ``"L"``, ...) where it is known; it tells how
        many channels a resized picture will have.
    root : str, optional
        The folder, with its slash, that was listed: what `write_images` names files below it by.

    Examples
    --------
    >>> ImageDtype("uint8", (224, 224, 3))
    image[uint8, 224x224x3]
    >>> pd.api.types.pandas_dtype("tensor[float32, 512]").shape
    (512,)
    >>> ImageDtype("file") == "image[file]"
    True
    """

    na_value = pd.NA

    def __init__(
        self,
        kind: str = "pixels",
        shape: Sequence[int] | None = None,
        *,
        tensor: bool = False,
        on_error: str | None = None,
        source: str | None = None,
        mode: str | None = None,
        root: str | None = None,
    ) -> None:
        if kind not in (*_KINDS, "infer"):
            try:
                cell = np.dtype(kind)
            except TypeError as error:
                raise TypeError(
                    f"an image dtype holds {', '.join(_KINDS)} or a NumPy dtype; got {quoted(kind)}"
                ) from error
            if cell.kind not in "biuf":
                raise TypeError(f"pixels are numbers or booleans; got dtype {quoted(kind)}")
            kind = cell.name
        elif shape is not None:
            raise TypeError(
                f"a shape needs a NumPy dtype; got kind={quoted(kind)}, shape={quoted(shape)}"
            )
        elif tensor and kind != "pixels":
            raise TypeError(f"a tensor column holds arrays; got kind={quoted(kind)}")
        self.cells = kind
        self.shape = None if shape is None else tuple(int(n) for n in shape)
        self.tensor = tensor
        self.on_error = check_policy(on_error)
        self.source = source
        self.mode = mode
        self.root = root

    # -- the pandas side ------------------------------------------------------------------
    @property
    def type(self) -> builtins.type[Any]:  # type: ignore[override]
        """The class of a scalar: `Image`, or an array for a tensor column."""
        from daskimg.column.image import Image

        return np.ndarray if self.tensor else Image

    @property
    def kind(self) -> Literal["O"]:
        """``"O"``, as pandas asks of a dtype whose cells are objects."""
        return "O"

    @property
    def name(self) -> str:  # type: ignore[override]
        """``image[file]``, ``image[uint8, 224x224x3]``, ``tensor[float32, 512]``, ..."""
        family = "tensor" if self.tensor else "image"
        if self.cells == "infer":
            return family
        size = f", {'x'.join(map(str, self.shape))}" if self.shape is not None else ""
        return f"{family}[{self.cells}{size}]"

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            try:
                other = self.construct_from_string(other)
            except TypeError:
                return False
        return isinstance(other, ImageDtype) and self.name == other.name

    def __hash__(self) -> int:
        return hash(("daskimg.ImageDtype", self.name))

    @classmethod
    def construct_array_type(cls) -> builtins.type[ImageArray]:
        """The array class of this dtype."""
        from daskimg.column.array import ImageArray

        return ImageArray

    @classmethod
    def construct_from_string(cls, string: str) -> ImageDtype:
        """Parse a dtype's name.

        Raises
        ------
        TypeError
            When `string` is not the name of an image or tensor dtype.
        """
        if not isinstance(string, str):
            raise TypeError(f"'construct_from_string' expects a string, got {type(string)}")
        match = _NAME.fullmatch(string.strip())
        if match is None:
            raise TypeError(f"Cannot construct a 'ImageDtype' from '{string}'")
        family, kind, size = match.groups()
        shape = None if size is None else [int(n) for n in size.split("x")]
        kind = kind or ("pixels" if family == "tensor" else "infer")
        return cls(kind, shape, tensor=family == "tensor")

    def _get_common_dtype(self, dtypes: list[Any]) -> ImageDtype | None:
        mine = [d for d in dtypes if isinstance(d, ImageDtype)]
        if len(mine) != len(dtypes) or len({d.tensor for d in mine}) > 1:
            return None
        kinds = {d.cells for d in mine}
        several = "pixels" if all(d.holds_pixels for d in mine) else "mixed"
        shapes = {d.shape for d in mine}
        policies = {d.on_error for d in mine}
        # what holds no path needs no credentials
        sources = [d.source for d in mine if d.holds_paths] or [d.source for d in mine]
        modes = {d.mode for d in mine}
        return ImageDtype(
            kinds.pop() if len(kinds) == 1 else several,
            shapes.pop() if len({d.name for d in mine}) == 1 else None,
            tensor=mine[0].tensor,
            on_error="null" if "null" in policies else "raise" if "raise" in policies else None,
            source=fetch.common(sources),
            mode=modes.pop() if len(modes) == 1 else None,
            root=common_root({d.root for d in mine}),
        )

    # -- what the library asks ------------------------------------------------------------
    @property
    def holds_pixels(self) -> bool:
        """Whether all cells are arrays (not paths, not encoded bytes)."""
        return self.cells not in ("file", "encoded", "mixed", "infer")

    @property
    def holds_paths(self) -> bool:
        """Whether there may be cells that have to be fetched."""
        return self.cells in ("file", "mixed")

    @property
    def cell_dtype(self) -> np.dtype[Any] | None:
        """The NumPy dtype that every cell has, or None."""
        return None if self.cells in (*_KINDS, "infer") else np.dtype(self.cells)

    @property
    def channels(self) -> int | None:
        """Length of the channel axis; 0 where there is none (grey), None where it is unknown."""
        if self.shape is not None:
            return self.shape[2] if len(self.shape) == 3 else 0
        return None if self.mode is None else CHANNELS.get(self.mode)

    def derive(self, cells: str, shape: Sequence[int] | None = None, **changes: Any) -> ImageDtype:
        """Another kind of cell under the same policy and credentials."""
        return ImageDtype(cells, shape, **{"tensor": self.tensor, **self._unnamed, **changes})

    @property
    def _unnamed(self) -> dict[str, Any]:
        """What is no part of the name."""
        return {name: getattr(self, name) for name in ("on_error", "source", "mode", "root")}

    def __dask_tokenize__(self) -> tuple[str | None, ...]:
        # by the digest of the credentials: a handle is another in every process
        known = fetch.recall(self.source)
        source = self.source if known is None else known.__dask_tokenize__()[1]
        return ("daskimg.ImageDtype", self.name, self.on_error, source, self.mode, self.root)

    # -- the Arrow side -------------------------------------------------------------------
    def to_json(self) -> str:
        """All of it as text, for Arrow metadata (no secrets are in it)."""
        return json.dumps({"dtype": self.name, **self._unnamed})

    @classmethod
    def from_json(cls, text: str) -> ImageDtype:
        """The inverse of `to_json`; what a later version may have added is left out.

        Raises
        ------
        ValueError
            When `text` is no such text.
        """
        try:
            told = json.loads(text)
            dtype = cls.construct_from_string(told["dtype"])
            fields = {name: told.get(name) for name in dtype._unnamed}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"no dtype of an image column: {quoted(text)}") from error
        if not all(value is None or isinstance(value, str) for value in fields.values()):
            raise ValueError(f"no dtype of an image column: {quoted(text)}")
        return dtype.derive(dtype.cells, dtype.shape, **fields)

    def __from_arrow__(self, array: pa.Array | pa.ChunkedArray) -> ImageArray:
        return self.construct_array_type().from_arrow(array, self)


def is_picture_shape(shape: Sequence[int | None]) -> bool:
    """Whether an array is a picture, ``(H, W)`` or ``(H, W, 1|3|4)``, or another tensor.

    None stands for a size that differs.
    """
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (None, 1, 3, 4))
