"""The dtype of several pictures in a row, and its Arrow type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionDtype, register_extension_dtype

from daskimg.column.arrow import ImageArrowType, dtype_from
from daskimg.column.dtype import ImageDtype
from daskimg.errors import quoted

if TYPE_CHECKING:
    from daskimg.column.lists import ImageListArray

__all__ = ["ImageListArrowType", "ImageListDtype"]


@register_extension_dtype
class ImageListDtype(ExtensionDtype):
    """The dtype of lists of pictures: ``list[image[encoded]]``, ``list[image[pixels]]``, ...

    ``explode`` gives the image column, a row for each picture.

    Parameters
    ----------
    item : ImageDtype or str
        Of what is in the lists.

    Examples
    --------
    >>> crops = pd.Series([[np.zeros((2, 3), "uint8")] * 2, []], dtype="list[image]")
    >>> crops.dtype
    list[image[pixels]]
    >>> crops.explode().img.width.tolist()
    [3, 3, <NA>]
    """

    na_value = pd.NA

    def __init__(self, item: ImageDtype | str = "image[pixels]") -> None:
        dtype: Any = pd.api.types.pandas_dtype(item)
        if not isinstance(dtype, ImageDtype):
            raise TypeError(f"a list of pictures is of an image dtype; got {quoted(item)}")
        self.item = dtype

    @property
    def type(self) -> Any:  # type: ignore[override]
        """``list``, the class of a cell."""
        return list

    @property
    def kind(self) -> Literal["O"]:
        """``"O"``, as pandas asks of a dtype whose cells are objects."""
        return "O"

    @property
    def name(self) -> str:  # type: ignore[override]
        """``list[image[encoded]]``."""
        return f"list[{self.item.name}]"

    def __repr__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.name == other
        return isinstance(other, ImageListDtype) and self.item == other.item

    def __hash__(self) -> int:
        return hash(("daskimg.ImageListDtype", self.name))

    @classmethod
    def construct_array_type(cls) -> Any:
        """The array class of this dtype."""
        from daskimg.column.lists import ImageListArray

        return ImageListArray

    @classmethod
    def construct_from_string(cls, string: str) -> ImageListDtype:
        """Parse a dtype's name.

        Raises
        ------
        TypeError
            When `string` is not ``list[...]`` of the name of an image dtype.
        """
        if not isinstance(string, str):
            raise TypeError(f"'construct_from_string' expects a string, got {type(string)}")
        if not (string.startswith("list[") and string.endswith("]")):
            raise TypeError(f"Cannot construct a 'ImageListDtype' from '{string}'")
        return cls(ImageDtype.construct_from_string(string[5:-1]))

    def _get_common_dtype(self, dtypes: list[Any]) -> ImageListDtype | None:
        if not all(isinstance(dtype, ImageListDtype) for dtype in dtypes):
            return None
        item = self.item._get_common_dtype([dtype.item for dtype in dtypes])
        return None if item is None else ImageListDtype(item)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return "daskimg.ImageListDtype", self.item.__dask_tokenize__()

    def __from_arrow__(self, array: pa.Array | pa.ChunkedArray) -> ImageListArray:
        from daskimg.column.lists import from_arrow_lists

        return from_arrow_lists(array, self)


class ImageListArrowType(pa.ExtensionType):  # type: ignore[misc]
    """The Arrow extension type ``daskimg.images``; its metadata is the dtype of the items."""

    def __init__(self, dtype: ImageListDtype, storage: pa.DataType | None = None) -> None:
        self._dtype = dtype
        kind = storage or pa.large_list(ImageArrowType(dtype.item).storage_type)
        super().__init__(kind, "daskimg.images")

    def __arrow_ext_serialize__(self) -> bytes:
        return self._dtype.item.to_json().encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, data: bytes) -> ImageListArrowType:
        return cls(ImageListDtype(dtype_from(data)), storage)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ImageListArrowType)
            and self._dtype == other._dtype
            and self.storage_type == other.storage_type
        )

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:  # Dask looks Arrow types up in a set
        return hash((type(self), self._dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageListArrowType, (self._dtype, self.storage_type)

    def to_pandas_dtype(self) -> ImageListDtype:
        """The dtype a pandas column of this type has."""
        return self._dtype


pa.register_extension_type(ImageListArrowType(ImageListDtype("image[file]")))
