"""Pictures and files to test on, and what Pillow says of them."""

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from daskimg.kernels import codec, headers

SHARED = Path(os.environ.get("DASKIMG_SHARED", Path(__file__).parents[3] / "shared")) / "data"


def picture(mode="RGB", height=37, width=53, seed=0):
    """A smooth picture with some noise, so that lossy formats keep it."""
    y, x = np.mgrid[:height, :width]
    planes = np.stack([3 * x + y, 2 * y + 40, 200 - x - y, 255 - 3 * y], axis=2)
    noise = np.random.default_rng(seed).integers(0, 12, planes.shape)
    planes = (planes + noise).clip(0, 255).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(planes[:, :, 0].astype(np.uint16) * 250 + 3)
    if mode == "F":
        return Image.fromarray(planes[:, :, 0] / np.float32(3))
    if mode in ("1", "L", "P"):
        return Image.fromarray(planes[:, :, :3]).convert(mode)
    return Image.fromarray(planes[:, :, : {"LA": 2, "RGB": 3}.get(mode, 4)], mode=None).convert(
        mode
    )


def file(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def oriented(kind, orientation, **options):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return file(picture(), kind, exif=tags.tobytes(), **options)


def truth(data, orientation=True):
    image = Image.open(io.BytesIO(data))
    clear = image.mode == "P" and "transparency" in image.info
    want = {"P": "RGBA" if clear else "RGB", "CMYK": "RGB", "1": "L"}.get(image.mode, image.mode)
    if orientation:
        image = ImageOps.exif_transpose(image)
    return np.asarray(image if image.mode == want else image.convert(want))


def agrees(data, **options):
    pixels, header = codec.decode(data, **options), headers.read_header(data, **options)
    expected = truth(data, **options)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.dtype == expected.dtype
    assert (header.height, header.width) == pixels.shape[:2]
    assert header.channels == (1 if pixels.ndim == 2 else pixels.shape[2])
    image = Image.open(io.BytesIO(data))
    assert (header.mode, header.format) == (image.mode, image.format)
    assert headers.read_header(io.BytesIO(data), **options) == header
    assert headers.read_header(memoryview(data), **options) == header
