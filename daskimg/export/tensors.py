"""Batches of arrays as tensors. Imported where torch is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["check_dtypes", "dtype_of", "move", "nchw", "tensor", "tensors", "torch_device"]


def torch_device(device: Any) -> torch.device:
    """A device; ``"auto"`` is the GPU where there is one."""
    if str(device) == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def tensor(values: np.ndarray[Any, Any], dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor of its own memory: a model may work in place, and the rows stay what they are."""
    made = torch.from_numpy(np.array(values))
    return made if dtype is None else made.to(dtype)


def tensors(batch: Mapping[str, Any], dtypes: Any = None) -> dict[str, Any]:
    """The columns of a batch as tensors; text as lists, pictures of many shapes as lists."""
    check_dtypes(dtypes, batch)

    def made(values: Any, dtype: torch.dtype | None) -> Any:
        if values is None:
            return None
        if isinstance(values, list):
            return [made(value, dtype) for value in values]
        return tensor(values, dtype) if values.dtype.kind in "biuf" else values.tolist()

    return {name: made(values, dtype_of(dtypes, name)) for name, values in batch.items()}


def check_dtypes(dtypes: Any, names: Iterable[str]) -> None:
    """Refuse a dtype of a column that is not there."""
    names = list(names)
    unknown = {*dtypes} - {*names} if isinstance(dtypes, Mapping) else ()
    if unknown:
        raise KeyError(f"dtypes names {sorted(unknown)[0]!r}; the columns are {', '.join(names)}")


def dtype_of(dtypes: Any, name: str) -> torch.dtype | None:
    """What `dtypes`, one for all or a dict, says of a column."""
    found: torch.dtype | None = dtypes.get(name) if isinstance(dtypes, Mapping) else dtypes
    return found


def nchw(
    values: np.ndarray[Any, Any], channels_last: bool, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Pictures ``(N, H, W[, C])`` as ``(N, C, H, W)``."""
    if values.ndim == 3:
        return tensor(values[:, None], dtype)
    if channels_last:
        return tensor(values, dtype).permute(0, 3, 1, 2)
    return tensor(np.ascontiguousarray(values.transpose(0, 3, 1, 2)), dtype)


def move(batch: Any, device: torch.device) -> Any:
    """All tensors of a batch on `device`; to a GPU through pinned memory, without waiting."""
    if isinstance(batch, torch.Tensor):
        if device.type == "cuda" and batch.device.type == "cpu":
            batch = batch.pin_memory()
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: move(value, device) for key, value in batch.items()}
    if isinstance(batch, list):
        return [move(value, device) for value in batch]
    if isinstance(batch, tuple):
        moved = [move(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)
    return batch
