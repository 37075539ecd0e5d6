"""Basic image transformations: values from 0 to 1, one size, and pictures mirrored at random."""

import made
import numpy as np

import daskimg as di


def transform(images):
    image = images.image.img.convert("RGB").img.resize(224, 224)
    image = image.img.random_flip(0.5, seed=7)
    return images.assign(image=image.img.normalize(mean=0, std=1))


def main():
    folder = made.pictures()
    images = di.read_images(folder)
    found = transform(images).image.compute().img.to_numpy()
    assert found.shape == (6, 224, 224, 3)
    mirrored = 0
    for picture, pixels in zip(found, made.opened(folder, "RGB").values(), strict=True):
        expected = made.square(pixels, 224).astype(np.float32) / 255
        ways = [np.abs(picture - way).max() for way in (expected, expected[:, ::-1])]
        assert min(ways) < 1.5 / 255
        mirrored += ways[1] < ways[0]
    assert 0 < mirrored < 6
    assert (transform(images).image.compute().img.to_numpy() == found).all()  # the same again


if __name__ == "__main__":
    main()
