"""A frame as the data of a training run: PyTorch, TensorFlow. They are imported when called."""

from daskimg.export.tensorflow import to_tf
from daskimg.export.torch import iter_torch_batches, to_torch

__all__ = ["iter_torch_batches", "to_tf", "to_torch"]
