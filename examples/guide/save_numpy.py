"""Saving images as NumPy arrays, and what is known of them beside, row for row.

python examples/guide/save_numpy.py [FOLDER OR URL TO WRITE TO]
"""

import sys

import fsspec
import made
import numpy as np
import pandas as pd

import daskimg as di


def save(processed_images, target):
    processed_images.img.write_numpy(f"{target}/numpy-images/", column="processed_image")


def main(target="output"):
    folder = made.pictures()
    images = di.read_images(folder, partitioning=["label"], files_per_partition=2)
    small = images.image.img.convert("RGB").img.resize(64, 64)
    save(images.assign(processed_image=small)[["path", "label", "processed_image"]], target)
    shards = fsspec.open_files(f"{target}/numpy-images/*.npy")
    pixels = []
    for shard in shards:
        with shard as file:
            pixels.append(np.load(file))
    metadata = pd.read_parquet(f"{target}/numpy-images/index.parquet")
    expected = made.opened(folder, "RGB")
    assert list(metadata.label) == [name.partition("/")[0] for name in expected]
    assert all(map(str.endswith, metadata.path, expected))
    for found, full in zip(np.concatenate(pixels), expected.values(), strict=True):
        assert made.alike(found, made.square(full, 64))


if __name__ == "__main__":
    main(*sys.argv[1:])
