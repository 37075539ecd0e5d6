"""``.img`` on a Series. Written once: pandas runs an op at once, Dask adds it to the program."""

from pandas.api.extensions import register_series_accessor

from daskimg.accessor.cells import CellOps
from daskimg.accessor.color import ColorOps
from daskimg.accessor.geometry import GeometryOps
from daskimg.accessor.look import LookOps, compare
from daskimg.accessor.measure import MeasureOps
from daskimg.accessor.random import RandomOps

__all__ = ["ImageAccessor", "compare"]


@register_series_accessor("img")
class ImageAccessor(CellOps, GeometryOps, ColorOps, RandomOps, MeasureOps, LookOps):
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
