"""Batch size: as large as the memory for a batch allows, from sizes that stand in the headers."""

import made
import numpy as np

import daskimg as di


def optimal_batch_size(images, target=128 * 1024 * 1024, most=64):
    size = (images.image.img.height * images.image.img.width * 3).mean().compute()
    return int(np.clip(target // size, 1, most))


def process(images, function, batch_size="auto"):  # "auto" looks at the pictures themselves
    images = images.assign(rgb=images.image.img.convert("RGB"))
    return images.img.map_batches(function, columns=["rgb"], batch_size=batch_size)


def main():
    folder = made.pictures()
    images = di.read_images(folder)
    sizes = [pixels.nbytes for pixels in made.opened(folder, "RGB").values()]
    assert optimal_batch_size(images) == 64
    half = optimal_batch_size(images, target=3 * sum(sizes) / len(sizes))
    assert half == 3
    table = process(images, counted, half).compute()
    assert list(table.bytes) == sizes
    assert list(table.rows_of_batch) == [3] * 6
    assert list(process(images, counted).compute().bytes) == sizes


def counted(batch):
    bytes_a_picture = [image.nbytes for image in batch["rgb"]]
    return {"bytes": bytes_a_picture, "rows_of_batch": [len(bytes_a_picture)] * len(batch["rgb"])}


if __name__ == "__main__":
    main()
