"""Images as columns of Dask dataframes."""

from daskimg.accessor import ImageAccessor
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.image import Image
from daskimg.errors import ImageError, PlacementError, TooManyPixelsError
from daskimg.io.images import images, read_images
from daskimg.lazy import register as _register  # noqa: F401

__all__ = [
    "Image",
    "ImageAccessor",
    "ImageArray",
    "ImageDtype",
    "ImageError",
    "PlacementError",
    "TooManyPixelsError",
    "images",
    "read_images",
]
