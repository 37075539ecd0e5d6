"""What every test and doctest may use."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.testing import make_images


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "doctest-pictures"
    if not folder.exists():
        make_images(folder, 4, size=(16, 24))
    rgb, grey = np.full((4, 6, 3), 200, "uint8"), np.full((2, 3), 50, "uint8")
    doctest_namespace.update(
        di=di,
        np=np,
        pd=pd,
        folder=str(folder),
        pictures=pd.Series([rgb, grey, None], dtype="image"),
    )


@pytest.fixture
def one_thread():
    """Dask's synchronous scheduler."""
    with dask.config.set(scheduler="sync"):
        yield
