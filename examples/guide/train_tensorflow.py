"""TensorFlow: a `tf.data.Dataset` that Keras trains on."""

import made
import tensorflow as tf

import daskimg as di


def train(processed_images):
    tf_dataset = processed_images.img.to_tf(
        feature_columns="processed_image", label_columns="label", batch_size=32
    )
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Conv2D(32, 3, activation="relu"),
            tf.keras.layers.MaxPooling2D(),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return tf_dataset, model.fit(tf_dataset, epochs=10, verbose=0)


def main():
    tf.keras.utils.set_random_seed(0)
    folder = made.pictures()
    images = di.read_images(folder, partitioning=["category"])
    small = images.image.img.convert("RGB").img.resize(64, 64).img.normalize(0, 1)
    label = (images.category.astype(str) == "toys").astype("int64")
    dataset, fitted = train(images.assign(processed_image=small, label=label))

    expected = made.opened(folder, "RGB")
    ((features, labels),) = dataset.as_numpy_iterator()
    assert list(labels) == [int(name.startswith("toys")) for name in expected]
    for found, pixels in zip(features, expected.values(), strict=True):
        assert made.alike(found * 255, made.square(pixels, 64))
    assert fitted.history["loss"][-1] < fitted.history["loss"][0]


if __name__ == "__main__":
    main()
