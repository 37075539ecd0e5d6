"""Best practices: choose a format by what it costs, stream, and let no broken picture end a run."""

import made
import numpy as np

import daskimg as di


def sizes(images, formats):
    rgb = images.image.img.convert("RGB")
    return images.assign(**{name: rgb.img.encode(name).img.nbytes for name in formats})


def good_rows(images):
    return images[images.image.img.check().isna()]


def main():
    images = di.read_images(made.pictures(broken=True), on_error="null")
    names = [*made.opened("shop")]

    formats = ["jpeg", "png", "webp", "tiff"]
    table = sizes(good_rows(images), formats)[formats].compute()
    assert len(table) == len(names) == 6
    assert (table.jpeg < table.png).all()  # photographs: JPEG is a part of PNG's size
    assert (table.png < table.tiff).all()

    # lossless formats give the same pixels back, JPEG nearly
    rgb = good_rows(images).image.img.convert("RGB")
    expected = made.opened("shop", "RGB").values()
    for name in formats:
        for image, pixels in zip(rgb.img.encode(name).compute(), expected, strict=True):
            difference = np.abs(image.to_numpy().astype(int) - pixels).mean()
            assert difference < 5 if name in ("jpeg", "webp") else difference == 0

    # a broken picture is a row with a reason: kept + failed + missing = rows
    errors = images.img.errors().compute()
    assert list(errors.path.str.rpartition("/")[2]) == ["5_1.jpg"]
    assert errors.error.str.contains("cannot identify image file").all()


if __name__ == "__main__":
    main()
