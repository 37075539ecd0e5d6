"""Memory: batches come one after the other, and no more is made than what is asked for soon."""

import numpy as np

import daskimg as di


def process(images, work):
    for batch in work(images).img.iter_batches(batch_size=4, prefetch_partitions=2):
        yield batch["processed_image"]


def main():
    pixels = np.random.default_rng(0).integers(0, 256, (120, 64, 64, 3), dtype=np.uint8)
    np.save("pixels.npy", pixels)
    images = di.read_numpy("pixels.npy").repartition(npartitions=30)
    done = []

    def darker(image):
        done.append(1)
        return image // 2

    def work(images):
        return images.assign(processed_image=images.image.img.apply(darker))

    batches = process(images, work)
    first = next(batches)
    assert len(first) == 4
    assert len(done) < 60  # of 120: what is not wanted yet is not made
    assert (np.concatenate([first, *batches]) == pixels // 2).all()
    assert len(done) == 120


if __name__ == "__main__":
    main()
