"""A cell is pixels to NumPy, and one scalar to pandas."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import PIL.Image
import pytest

import daskimg as di
from tests.versions import PANDAS

BLACK = np.zeros((4, 5, 3), "uint8")


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(params=["pixels", "encoded", "file", "one shape"])
def series(request, tmp_path):
    """Two pictures, black and white."""
    cells = [BLACK, BLACK + 255]
    if request.param == "one shape":
        return pd.Series(cells, dtype="image[uint8, 4x5x3]")
    if request.param == "pixels":
        return pd.Series(cells, dtype="image")
    if request.param == "encoded":
        return pd.Series([png(cell) for cell in cells], dtype="image")
    for i, cell in enumerate(cells):
        (tmp_path / f"{i}.png").write_bytes(png(cell))
    return di.images([str(tmp_path / f"{i}.png") for i in range(2)])


def test_pixels(series):
    white = series.iloc[1]
    assert np.array_equal(np.asarray(white), BLACK + 255)
    assert np.array(white, dtype="float32").dtype == "float32"
    assert np.stack(list(series)).shape == np.stack(series).shape == (2, 4, 5, 3)
    assert np.array(list(series)).shape == (2, 4, 5, 3)
    assert np.stack(series.astype(object).to_numpy()).shape == (2, 4, 5, 3)
    assert np.concatenate([white, white], axis=1).shape == (4, 10, 3)
    assert np.mean(white) == 255
    assert np.subtract(white, 5).max() == 250
    assert (series.iloc[0] == BLACK).all()
    assert np.shape(white) == (4, 5, 3)
    assert [a.shape for a in series.map(np.asarray)] == [(4, 5, 3)] * 2
    copy = np.array(white)
    copy[:] = 0  # the cell's own are read-only
    assert np.asarray(white).min() == 255


def test_scalars_of_pandas(series):
    black, white = series
    assert pd.isna(black) is False
    assert pd.api.types.is_scalar(black)
    objects = series.astype(object)
    assert objects.shape == np.asarray(series).shape == np.array([*series], object).shape == (2,)
    for some in (objects, pd.Series([black, white]), pd.Series([black, white], dtype=object)):
        assert some.tolist() == [black, white]
        assert some.isna().tolist() == [False, False]
        assert (some == white).tolist() == [False, True]
        assert some.isin([white]).tolist() == [False, True]
        assert some.where([True, False], black).tolist() == [black, black]
        if PANDAS >= 3:  # older ones make one array of the pixels of a list
            assert some.where([True, False], [black, black]).tolist() == [black, black]
        assert some.replace(black, white).tolist() == [white, white]
        assert pd.concat([some, some]).shape == (4,)
    holes = pd.Series([black, None], dtype=object)
    assert holes.fillna(white).tolist() == [black, white]
    assert series.where([True, False]).fillna(black).tolist() == [black, black]
    cells = pd.array([black, black], dtype=series.dtype)
    assert series.where([True, False], cells).tolist() == [black, black]
    if PANDAS >= 3:  # older ones take no list for any extension array
        assert series.where([True, False], [black, black]).tolist() == [black, black]
    assert pd.Series(black, index=[0, 1]).tolist() == [black, black]
    frame = pd.DataFrame({"k": [1, 2]}).assign(x=white)
    frame.at[0, "x"] = black
    assert frame.x.tolist() == [black, white]
    assert [row["x"] for row in frame.to_dict("records")] == [black, white]
    assert frame.apply(lambda row: row["x"].to_numpy().max(), axis=1).tolist() == [0, 255]
    box = np.array([black, white], object)
    assert (box == white).tolist() == [False, True]
    assert np.where([True, False], box, black).tolist() == [black, black]


def test_a_list_of_pictures_of_several_sizes_is_no_array():
    cells = [di.Image(BLACK), di.Image(BLACK[:2])]
    with pytest.raises(ValueError, match="inhomogeneous"):
        np.array(cells)
    assert np.array(cells, object).shape == (2,)


def test_failures():
    failed = di.Image(path="a.png", error="decode: OSError: broken")
    with pytest.raises(di.ImageError, match="broken"):
        np.asarray(failed)
    assert not pd.isna(failed)
    with pytest.raises(TypeError, match="no number"):
        float(di.Image(BLACK))
    with pytest.raises(ValueError, match="copy"):
        np.asarray(di.Image(png(BLACK)), copy=False)
    assert np.asarray(di.Image(BLACK), copy=False).base is not None


def test_libraries_take_a_cell(series):
    torch = pytest.importorskip("torch")
    assert torch.as_tensor(np.array(series.iloc[0])).shape == (4, 5, 3)
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    assert plt.imshow(series.iloc[1]).get_array().shape == (4, 5, 3)


def test_arrays_of_several_shapes_are_the_columns_own_memory():
    cells = pd.Series([BLACK, BLACK[:2], None, BLACK[1:]], dtype="image")
    arrays = cells.img.to_numpy(na_value=-1)
    assert [a if isinstance(a, int) else a.shape for a in arrays] == [
        (4, 5, 3),
        (2, 5, 3),
        -1,
        (3, 5, 3),
    ]
    for row in (0, 1, 3):
        with pytest.raises(ValueError, match="read-only"):
            arrays[row][:] = 7
    assert cells.img.max().dropna().tolist() == [0, 0, 0]
