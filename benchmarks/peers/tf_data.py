"""tf.data: parallel maps and a prefetch, both tuned by TensorFlow.

`tf.image.resize` is bilinear without antialiasing unless asked, and gives float32.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import tensorflow as tf

from benchmarks.peers import common
from benchmarks.peers.common import BATCH, SIDE, Job, Told


def decoded(path: Any) -> Any:
    return tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False)


def small(path: Any) -> Any:
    return tf.image.resize(decoded(path), [SIDE, SIDE])


def measured(path: Any) -> dict[str, Any]:
    pixels = tf.cast(decoded(path), tf.float32)
    return {"name": path, "mean": tf.reduce_mean(pixels), "std": tf.math.reduce_std(pixels)}


def size_of(path: Any) -> dict[str, Any]:
    shape = tf.cond(
        tf.strings.regex_full_match(path, r"(?i).*\.jpe?g"),
        lambda: tf.io.extract_jpeg_shape(tf.io.read_file(path)),
        lambda: tf.shape(decoded(path)),
    )
    return {"name": path, "height": shape[0], "width": shape[1]}


def mapped(job: Job, function: Any) -> Any:
    files = tf.data.Dataset.list_files(f"{job.folder}/*", shuffle=False)
    return files.map(function, num_parallel_calls=tf.data.AUTOTUNE)


def batches(job: Job, function: Any = small) -> Any:
    return mapped(job, function).batch(BATCH).prefetch(tf.data.AUTOTUNE)


def table(job: Job, function: Any) -> pd.DataFrame:
    parts = [pd.DataFrame(batch) for batch in batches(job, function).as_numpy_iterator()]
    found = pd.concat(parts)
    return found.assign(name=[common.name_of(path.decode()) for path in found.name])


def iterate(job: Job) -> Told:
    return common.told_of_batches(batches(job).as_numpy_iterator())


large = iterate


def statistics(job: Job) -> Told:
    return common.told_of_table(table(job, measured), "mean")


def headers(job: Job) -> Told:
    return common.told_of_table(table(job, size_of), "height")


def join(job: Job) -> Told:
    return common.joined(job, table(job, measured))


def classify(job: Job) -> Told:
    from benchmarks.peers.model import Classifier

    return common.told_of_labels(map(Classifier(), batches(job).as_numpy_iterator()))
