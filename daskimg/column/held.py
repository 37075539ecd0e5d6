"""What an image column holds: a struct of arrays, whatever pandas asks of it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pandas.api.extensions import ExtensionArray

from daskimg.column import text
from daskimg.column.dtype import ImageDtype
from daskimg.column.storage import Ragged, Uniform, held_by
from daskimg.column.text import Text

__all__ = ["Held", "Mask"]

Mask = npt.NDArray[np.bool_]


class Held(ExtensionArray):
    """Which cells are valid, their pixels or bytes, where they came from, and why they failed."""

    _dtype: ImageDtype
    valid: Mask
    data: Ragged | Uniform | None
    path: Text
    error: Text
    _readonly = False  # (pandas 2 does not know of it)

    def __len__(self) -> int:
        return len(self.valid)

    @property
    def dtype(self) -> ImageDtype:
        """The column's dtype."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Bytes that this array holds: of a slice, those of all rows that it is a view of."""
        data = 0 if self.data is None else self.data.nbytes
        return data + held_by(self.valid) + text.nbytes(self.path) + text.nbytes(self.error)

    @property
    def row_bytes(self) -> int:
        """Bytes of these rows alone."""
        data = 0 if self.data is None else self.data.row_bytes
        return data + self.valid.nbytes + text.row_bytes(self.path) + text.row_bytes(self.error)

    @property
    def has_path(self) -> Mask:
        """Rows whose path is known."""
        return text.present(self.path, len(self))

    @property
    def has_error(self) -> Mask:
        """Rows with a recorded reason."""
        return text.present(self.error, len(self))

    def isna(self) -> Mask:
        """True where a cell is null: failed or missing."""
        return ~self.valid

    def as_ragged(self) -> Ragged:
        """The cells in one flat buffer, whatever the layout."""
        if isinstance(self.data, Ragged):
            return self.data
        if self.data is None:
            raise TypeError("a column of files holds no bytes; read() them first")
        return self.data.ragged(self.valid)

    def token(self) -> tuple[object, ...]:
        """Plain arrays that tell the content of this array and of no other rows."""
        data: object = None if self.data is None else self.data.tight()
        if isinstance(data, Uniform):
            data = data.values
        elif isinstance(data, Ragged):
            data = (data.buffer, data.length, data.shape, data.code)
        dtype = self.dtype.__dask_tokenize__()
        valid = np.ascontiguousarray(self.valid)
        return dtype, valid, data, text.token(self.path), text.token(self.error)
