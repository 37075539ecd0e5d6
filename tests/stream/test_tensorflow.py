"""A frame as a tf.data.Dataset, where TensorFlow is installed."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

import daskimg as di
from daskimg.export.tensorflow import _shape_and_dtype
from tests.stream.conftest import ROWS

pytestmark = pytest.mark.xdist_group("tensorflow")  # five seconds to import, once


def test_the_specification_follows_from_dtypes():
    shape = _shape_and_dtype("image", di.ImageDtype("float32", (8, 9, 3)))
    assert shape == ((8, 9, 3), np.dtype("float32"))
    assert _shape_and_dtype("n", pd.Int64Dtype()) == ((), np.dtype("int64"))
    assert _shape_and_dtype("path", pd.StringDtype("pyarrow")) == ((), np.dtype(object))


@pytest.mark.parametrize("dtype", ["image[uint8]", "image[pixels]", "tensor[pixels]"])
def test_pictures_of_many_shapes_are_refused(dtype):
    with pytest.raises(TypeError, match=r"resize\(height, width\)"):
        _shape_and_dtype("image", pd.api.types.pandas_dtype(dtype))


def test_without_tensorflow_it_says_what_to_install(frame, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match="pip install tensorflow"):
        frame.img.to_tf("image", "n")


def test_batches(frame, answer):
    tf = pytest.importorskip("tensorflow")
    dataset = frame.img.to_tf("image", ["n", "path"], batch_size=16)
    features, labels = dataset.element_spec
    assert features == tf.TensorSpec((None, 6, 5, 3), tf.uint8, name="image")
    assert labels["path"].dtype == tf.string
    for _ in range(2):
        batches = list(dataset)
        np.testing.assert_array_equal(np.concatenate([x.numpy() for x, _ in batches]), answer)
        assert np.concatenate([y["n"].numpy() for _, y in batches]).tolist() == list(range(ROWS))
    one = frame.img.to_tf("image", label_column="n", batch_size=40)
    assert one.element_spec == frame.img.to_tf("image", "n", batch_size=40).element_spec
    full = frame.img.to_tf("image", None, batch_size=16, drop_last=True)
    assert full.element_spec.shape == (16, 6, 5, 3)
    assert len(list(full)) == 2
    with pytest.raises(TypeError, match="resize"):
        frame.assign(image=di.images(frame.path)).img.to_tf("image", "n")


@pytest.mark.parametrize("drop_last", [False, True])
def test_how_many_batches_there_are(frame, drop_last):
    tf = pytest.importorskip("tensorflow")
    unknown = int(tf.data.UNKNOWN_CARDINALITY)
    number = ROWS // 16 if drop_last else -(-ROWS // 16)
    rows = frame.compute()
    kept = frame[frame.n >= 0]
    for one, known in [(frame, True), (rows, True), (rows.iloc[:0], True), (kept, False)]:
        dataset = one.img.to_tf("image", "n", batch_size=16, drop_last=drop_last)
        told, found = int(dataset.cardinality()), len(list(dataset))
        assert found == (number if len(one) else 0)
        assert told == (found if known else unknown)
    dropped = frame.img.to_tf("image", "n", batch_size=16, on_null="drop", drop_last=drop_last)
    assert int(dropped.cardinality()) == unknown
