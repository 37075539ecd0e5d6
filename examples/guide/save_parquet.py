"""Saving images with what is known of them: Parquet, in folders of categories and days.

python examples/guide/save_parquet.py [FOLDER OR URL TO WRITE TO]
"""

import sys

import made
import numpy as np
import pandas as pd

import daskimg as di


def save(processed_images, target):
    processed_images.img.write_parquet(f"{target}/image-dataset/", compression="snappy")
    processed_images.img.write_parquet(
        f"{target}/partitioned-images/", partition_cols=["category", "date"], compression="snappy"
    )


def main(target="output"):
    folder = made.pictures()
    images = di.read_images(folder, partitioning=["category"])
    small = images.image.img.convert("RGB").img.resize(64, 64)
    save(images.assign(image=small, date="2026-01-01"), target)
    expected = {
        name: made.square(pixels, 64) for name, pixels in made.opened(folder, "RGB").items()
    }
    for part in "image-dataset", "partitioned-images":
        table = pd.read_parquet(f"{target}/{part}")  # pandas reads it, without daskimg
        assert len(table) == len(expected)
        for row in table.itertuples():
            name = "/".join(row.path.split("/")[-2:])
            pixels = np.reshape(row.image, (64, 64, 3))  # flat, where nothing of daskimg reads
            assert row.category == name.partition("/")[0]
            assert row.date == "2026-01-01"
            assert made.alike(pixels, expected[name])


if __name__ == "__main__":
    main(*sys.argv[1:])
