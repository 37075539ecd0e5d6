"""Loading images, NumPy arrays: a file of pictures, and one with labels and more beside them."""

import numpy as np

import daskimg as di


def load(arrays, archive):
    images = di.read_numpy(arrays)
    named = di.read_numpy(archive, column_names=["image", "label", "metadata"])
    return images, named


def main():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 48, 3), dtype=np.uint8)
    label, sizes = np.arange(20) % 4, np.arange(40.0).reshape(20, 2)
    np.save("arrays.npy", pixels)
    np.savez("archive.npz", image=pixels, label=label, metadata=sizes)
    images, named = load("arrays.npy", "archive.npz")
    assert (images.image.compute().img.to_numpy() == pixels).all()
    assert np.allclose(images.image.img.mean().compute(), pixels.mean((1, 2, 3)))
    table = named.compute()
    assert (table.label == label).all()
    assert (np.stack(table.metadata.to_numpy()) == sizes).all()
    assert (table.image.img.to_numpy() == pixels).all()


if __name__ == "__main__":
    main()
