"""Loading images, TFRecords: encoded pictures become a column of pictures by themselves."""

import io

import made
import numpy as np
from PIL import Image

import daskimg as di


def load(records):
    return di.read_tfrecords(records)


def main():
    expected = [*made.opened(made.pictures()).values()]
    write_with_tensorflow("pictures.tfrecord", expected)
    table = load("pictures.tfrecord").compute()
    assert str(table.image.dtype) == "image[encoded]"
    assert list(table.label) == [*range(len(expected))]
    for image, pixels in zip(table.image, expected, strict=True):
        assert np.array_equal(image.to_numpy(), pixels)


def write_with_tensorflow(path, pictures):
    import tensorflow as tf

    with tf.io.TFRecordWriter(path) as writer:
        for n, pixels in enumerate(pictures):
            picture = io.BytesIO()
            Image.fromarray(pixels).save(picture, "PNG")
            features = {
                "image": tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[picture.getvalue()])
                ),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[n])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


if __name__ == "__main__":
    main()
