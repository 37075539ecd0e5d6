"""A production pipeline: broken pictures become rows with a reason, what is written appears in
full or not at all, and the same call after a crash goes on where it stopped.

python examples/guide/production.py [PICTURES] [FOLDER OR URL TO WRITE TO]
"""

import sys

import dask
import made
import pandas as pd

import daskimg as di


def pipeline(source, target, processor):
    with dask.config.set({"daskimg.max-errors": 1000, "daskimg.retries": 8}):
        images = di.read_images(source, on_error="null", blocksize="32MiB")
        image = images.image.img.convert("RGB").img.resize(224, 224)
        processed = images.assign(image=image).img.map_batches(
            processor, columns="image", batch_size=32, concurrency=2, num_gpus=1
        )
        return processed.img.write_parquet(
            f"{target}/processed-images/", mode="resume", errors=f"{target}/errors.parquet"
        )


def main(source=None, target="output"):
    source = source or made.pictures(broken=True)
    expected = made.opened(source, "RGB")
    with made.workers(gpus=2):
        result = pipeline(source, target, Processor)
        again = pipeline(source, target, Processor)
    assert (result.rows, result.failed) == (again.rows, again.failed) == (7, 1)
    found = pd.read_parquet(f"{target}/processed-images").light.dropna()
    light = [made.square(pixels, 224).mean() for pixels in expected.values()]
    assert abs(found - light).max() < 0.5
    errors = pd.read_parquet(f"{target}/errors.parquet")
    assert errors.path.item().endswith("toys/5_1.jpg")
    assert "cannot identify image file" in errors.error.item()


class Processor:
    def __call__(self, batch):
        return {"image": batch["image"], "light": batch["image"].mean((1, 2, 3))}


if __name__ == "__main__":
    main(*sys.argv[1:])
