"""An image is just another column of a Dask dataframe.

Read pictures with ``read_images`` and its like, derive columns from them with ``.img`` (on pandas
and Dask alike), and write or join them like any other column.

Examples
--------
>>> df = di.read_images(folder)
>>> df = df.assign(brightness=df.image.img.brightness())
>>> df[df.image.img.width > 0][["path", "brightness"]].compute().columns.tolist()
['path', 'brightness']
"""

from importlib.metadata import version

from daskimg import testing
from daskimg.accessor import ImageAccessor, compare
from daskimg.batch import BatchError
from daskimg.cluster import check_cluster, start_cluster
from daskimg.column.array import ImageArray
from daskimg.column.dtype import ImageDtype
from daskimg.column.image import Image
from daskimg.errors import ImageError, PlacementError, TooManyPixelsError
from daskimg.frame import FrameAccessor
from daskimg.io.dask_array import from_array
from daskimg.io.images.of_column import images
from daskimg.io.images.read import read_images
from daskimg.io.npy.read import read_numpy
from daskimg.io.parquet.read import read_parquet
from daskimg.io.sql import read_sql
from daskimg.io.tfrecord.shards import read_tfrecords
from daskimg.io.webdataset.shards import read_webdataset
from daskimg.lazy import register as _register  # noqa: F401
from daskimg.monitor import progress, stats
from daskimg.notebook import load_ipython_extension, register  # noqa: F401

__all__ = [
    "BatchError",
    "FrameAccessor",
    "Image",
    "ImageAccessor",
    "ImageArray",
    "ImageDtype",
    "ImageError",
    "PlacementError",
    "TooManyPixelsError",
    "__version__",
    "check_cluster",
    "compare",
    "from_array",
    "images",
    "progress",
    "read_images",
    "read_numpy",
    "read_parquet",
    "read_sql",
    "read_tfrecords",
    "read_webdataset",
    "start_cluster",
    "stats",
    "testing",
]

__version__ = version("daskimg")

register()
