"""The scalar of an image column."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import PIL.Image
import pytest

import daskimg as di
from daskimg.kernels import codec


@pytest.fixture
def rgb():
    return np.arange(24, dtype="uint8").reshape(2, 4, 3)


def test_pixels(rgb):
    image = di.Image(rgb, "a.png")
    np.testing.assert_array_equal(image.to_numpy(), rgb)
    assert rgb.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        image.to_numpy()[0] = 0
    assert image.to_pil().mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image.to_pil()), rgb)
    np.testing.assert_array_equal(codec.decode(image.to_bytes()), rgb)


@pytest.mark.parametrize(
    ("pixels", "mode", "most"),
    [
        (np.array([[0, 65535]], "uint16"), "I;16", 65535),
        (np.full((1, 2, 3), 65535, "uint16"), "RGB", 255),
        (np.array([[0, 0.5]], "float32"), "F", 0.5),
        (np.full((1, 2, 3), 0.5, "float64"), "RGB", 128),
        (np.full((1, 2, 2), 9, "uint8"), "LA", 9),
        (np.full((1, 2, 4), 9, "int64"), "RGBA", 9),
        (np.array([[True, False]]), "1", True),
    ],
)
def test_to_pil(pixels, mode, most):
    picture = di.Image(pixels).to_pil()
    assert (picture.mode, picture.size) == (mode, (2, 1))
    assert np.asarray(picture).max() == most


def test_encoded(rgb):
    image = di.Image(codec.encode(rgb, "png"))
    np.testing.assert_array_equal(image.to_numpy(), rgb)
    assert not image.to_numpy().flags.writeable
    assert image.to_bytes() == image.data
    assert di.Image(bytearray(b"xy")).data == di.Image(memoryview(b"xy")).data == b"xy"


def test_file(rgb, tmp_path):
    path = tmp_path / "a.png"
    PIL.Image.fromarray(rgb).save(path)
    image = di.Image(path=path)
    assert image.path == str(path)
    np.testing.assert_array_equal(image.to_numpy(), rgb)
    assert image.data is None


def test_png_in_a_notebook(rgb):
    for picture in (di.Image(rgb), di.Image(rgb[:, :, 0]), di.Image(rgb[:, :, :1])):
        assert picture._repr_png_().startswith(b"\x89PNG")
    large = di.Image(np.zeros((900, 1800, 3), "uint8"))._repr_png_()
    assert codec.decode(large).shape == (256, 512, 3)
    assert di.Image(error="decode: bad")._repr_png_() is None
    deep = np.array([[0, 65535]], "uint16")
    assert di.Image(deep)._repr_png_().startswith(b"\x89PNG")
    assert di.Image(np.full((2, 2), 0.5, "float32"))._repr_png_().startswith(b"\x89PNG")
    assert di.Image(np.full((2, 2, 3), 0.5, "float32"))._repr_png_().startswith(b"\x89PNG")
    assert di.Image(np.array([[True, False]]))._repr_png_().startswith(b"\x89PNG")
    assert di.Image(np.zeros((2, 2, 7), "uint8"))._repr_png_() is None
    assert di.Image(b"not a picture")._repr_png_() is None
    assert di.Image(path="/no/such/file.png")._repr_png_() is None


def test_failures_name_the_reason():
    failed = di.Image(path="b.jpg", error="decode: OSError: broken")
    assert failed.failed
    for act in (failed.to_numpy, failed.to_bytes, failed.to_pil):
        with pytest.raises(di.ImageError, match=r"decode: OSError: broken \(b.jpg\)"):
            act()
    partial = di.Image(np.zeros((2, 2), "uint8"), error="decode: partial")
    assert not partial.failed
    assert partial.to_numpy().shape == (2, 2)
    with pytest.raises(di.ImageError, match="empty"):
        di.Image().to_numpy()


def test_equality_and_hash(rgb):
    same = di.Image(rgb.copy(), "elsewhere.png")
    assert di.Image(rgb) == same
    assert hash(di.Image(rgb)) == hash(same)
    others = [
        di.Image(rgb[:1]),
        di.Image(rgb.astype("uint16")),
        di.Image(rgb + 1),
        di.Image(rgb.reshape(2, 3, 4)),
        di.Image(b"x"),
        di.Image(path="a.png"),
        di.Image(path="b.png"),
        di.Image(error="bad"),
    ]
    assert len({di.Image(rgb), same, *others}) == 1 + len(others)
    assert di.Image(path="a.png") == di.Image(path="a.png")
    assert di.Image(b"x") != b"x"


def test_pickle(rgb):
    for image in (di.Image(rgb, "a.png", "warned"), di.Image(b"x"), di.Image(path="a.png")):
        back = pickle.loads(pickle.dumps(image))
        assert (back, back.path, back.error) == (image, image.path, image.error)
    with pytest.raises(ValueError, match="read-only"):  # its hash is that of what it holds
        pickle.loads(pickle.dumps(di.Image(rgb))).to_numpy()[:] = 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "bool"])
@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (1, 1), (1, 5, 1), (5, 1, 3)])
def test_thumbnails_of_a_line(dtype, shape):
    assert di.Image(np.zeros(shape, dtype)).thumbnail().size == shape[1::-1]


@pytest.mark.parametrize("isolated", [False, True])
def test_a_scalar_is_opened_by_the_settings_in_force(rgb, tmp_path, isolated):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.fromarray(rgb).save(tmp_path / "a.png", exif=exif)
    file = di.Image(path=str(tmp_path / "a.png"))
    for image in (file, di.Image(file.to_bytes())):
        with dask.config.set({"daskimg.decode-processes": isolated}):
            assert image.to_numpy().shape == (4, 2, 3)
            with pytest.raises(ValueError, match="read-only"):
                image.to_numpy()[:] = 0
            with dask.config.set({"daskimg.apply-orientation": False}):
                assert image.to_numpy().shape == np.asarray(image).shape == (2, 4, 3)
                assert image.to_pil().size == (4, 2)
            with (
                dask.config.set({"daskimg.max-image-pixels": 7}),
                pytest.raises(di.TooManyPixelsError),
            ):
                image.to_numpy()
            with (
                dask.config.set({"daskimg.formats": ["jpeg"]}),
                pytest.raises(ValueError, match=r"daskimg\.formats lists \(jpeg\), got PNG"),
            ):
                image.to_pil()
    with (
        dask.config.set({"daskimg.max-image-bytes": 20}),
        pytest.raises(ValueError, match="max-image-bytes"),
    ):
        file.to_bytes()


def test_repr_says_what_it_is_and_no_secrets(rgb):
    assert repr(di.Image(rgb)) == "<Image 2x4x3 uint8>"
    assert repr(di.Image(b"abc", "s3://b/a.jpg")) == "<Image 3 bytes s3://b/a.jpg>"
    url = "https://bob:hunter2@host/a.jpg?X-Amz-Signature=beef"
    for image in (
        di.Image(rgb, url),
        di.Image(path=url),
        di.Image(path=url, error=f"read: OSError: cannot open {url}"),
    ):
        assert "host/a.jpg" in repr(image)
        assert "hunter2" not in repr(image)
        assert "beef" not in repr(image)


def test_what_is_no_picture():
    with pytest.raises(TypeError, match=r"got a path: Image\(path='a.png'\)"):
        di.Image("a.png")
    with pytest.raises(TypeError, match="got an array of object"):
        di.Image(np.array([None, 3], object))


@pytest.mark.parametrize("act", ["to_numpy", "to_pil"])
def test_a_cell_that_cannot_be_decoded_names_its_file(tmp_path, act):
    junk = tmp_path / "junk.png"
    junk.write_bytes(b"no picture")
    for cell in (di.Image(path=junk), di.Image(b"no picture", path=junk)):
        with pytest.raises(PIL.UnidentifiedImageError, match="begin with") as told:
            getattr(cell, act)()
        assert told.value.__notes__ == [f"The picture is {junk}"]
    with pytest.raises(PIL.UnidentifiedImageError) as told:
        getattr(di.Image(b"no picture", path="https://host/a.png?X-Amz-Signature=beef"), act)()
    assert "beef" not in told.value.__notes__[0]
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        getattr(di.Image(path=tmp_path / "gone.png"), act)()
