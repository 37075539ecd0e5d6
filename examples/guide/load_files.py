"""Loading images, image files: of a folder or a store, of one format, with their paths.

python examples/guide/load_files.py [FOLDER OR URL]
"""

import sys

import made

import daskimg as di


def load(images):
    everything = di.read_images(images)  # a folder, or s3://bucket/folder/: the same call
    png = di.read_images(images, file_extensions=["png"])
    without_paths = di.read_images(images, include_paths=False)
    return everything, png, without_paths


def main(images=None):
    images = images or made.pictures()
    everything, png, without_paths = load(images)
    expected = made.opened(images)
    assert len(everything) == len(expected)
    table = everything.compute()
    for path, image, (name, pixels) in zip(table.path, table.image, expected.items(), strict=True):
        assert path.endswith(name)
        assert (image.to_numpy() == pixels).all()
    assert len(png) == sum(name.endswith(".png") for name in expected)
    assert list(without_paths.columns) == ["image"]


if __name__ == "__main__":
    main(*sys.argv[1:])
