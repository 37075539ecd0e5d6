"""A frame for PyTorch: batches of tensors, and a dataset for DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from daskimg.stream import OnNull, chosen, iter_batches
from daskimg.stream.shards import Dataset
from daskimg.words import FEEDS, SAME, known_as

if TYPE_CHECKING:
    import torch

    from daskimg.export.torch_dataset import TorchDataset

__all__ = ["iter_torch_batches", "to_torch"]


@known_as(FEEDS, **SAME)
def iter_torch_batches(
    frame: Any,
    batch_size: int = 256,
    device: str | torch.device = "auto",
    dtypes: Any = None,
    collate_fn: Callable[[dict[str, Any]], Any] | None = None,
    *,
    prefetch_partitions: int = 2,
    drop_last: bool = False,
    shuffle_buffer: int | None = None,
    seed: int | None = None,
    on_null: OnNull = "raise",
    columns: Sequence[str] | None = None,
) -> Iterator[Any]:
    """Batches as dicts of tensors, in order, while the next ones are read and decoded.

    Pictures are ``(N, H, W, C)`` as in `iter_batches` (a list of tensors where they differ in
    shape); text stays a list of str.

    Parameters
    ----------
    frame : DataFrame
        Of Dask or pandas.
    batch_size : int
        Rows of a batch.
    device : str or torch.device
        Where the tensors go; ``"auto"``: the GPU where there is one. The way there leads through
        pinned memory, and does not block.
    dtypes : torch.dtype or dict, optional
        Of all tensors, or of columns by name.
    collate_fn : callable, optional
        Makes the batch from a dict of read-only arrays; what it returns is moved to `device`.
    prefetch_partitions, drop_last, shuffle_buffer, seed, on_null, columns
        As in `iter_batches`.

    Examples
    --------
    >>> df = di.read_images(folder, size=(8, 8), mode="RGB")
    >>> [tuple(batch["image"].shape) for batch in df.img.iter_torch_batches(3, device="cpu")]
    [(3, 8, 8, 3), (1, 8, 8, 3)]
    """
    from daskimg.export.tensors import move, tensors, torch_device

    target = torch_device(device)
    found = iter_batches(
        frame,
        batch_size,
        "numpy",
        prefetch_partitions,
        drop_last,
        shuffle_buffer,
        seed,
        on_null,
        columns=columns,
    )

    def batches() -> Iterator[Any]:
        try:
            for batch in found:
                made = tensors(batch, dtypes) if collate_fn is None else collate_fn(batch)
                yield move(made, target)
        finally:
            found.close()  # type: ignore[attr-defined]

    return batches()


@known_as(FEEDS, **SAME)
def to_torch(
    frame: Any,
    feature_columns: str | Sequence[str],
    label_column: str | Sequence[str] | None = None,
    batch_size: int = 32,
    channels_last: bool = False,
    *,
    dtypes: Any = None,
    shuffle: bool | None = None,
    seed: int = 0,
    shuffle_buffer: int | None = None,
    drop_last: bool = False,
    on_null: OnNull = "raise",
    prefetch_partitions: int = 2,
    rank: int | None = None,
    world_size: int | None = None,
) -> TorchDataset:
    """An ``IterableDataset`` of batches ``(features, label)``, pictures as NCHW tensors.

    Pass it to ``DataLoader(dataset, batch_size=None, num_workers=...)``. Each rank of a
    distributed run, and in it each worker of the DataLoader, reads and decodes its own rows only,
    and each row is read once an epoch.

    Parameters
    ----------
    frame : DataFrame
        Of Dask or pandas.
    feature_columns : str or list of str
        One: features are a tensor; several: a dict of tensors by name. Pictures need one shape
        (``.img.resize``).
    label_column : str, or list of one, optional
        A column of numbers, or of pictures (masks). None: the label is None.
    batch_size : int
        Rows of a batch.
    channels_last : bool
        Pictures in the memory format ``torch.channels_last``: NCHW still, no copy to make it so.
    dtypes : torch.dtype or dict, optional
        Of all features, or of columns (the label too) by name.
    shuffle : bool, optional
        Another order of rows each epoch. None: once ``set_epoch`` has been called; before it,
        the order of the frame.
    seed : int
        Of the shuffle. The same on every rank.
    shuffle_buffer : int, optional
        Rows held back and drawn from: mixes partitions where the frame holds bytes or pixels,
        whose rows are otherwise shuffled within partitions (a frame of files is shuffled whole).
    drop_last : bool
        Full batches only, equally many on each rank.
    on_null : {"raise", "drop", "fill"}
        As in `iter_batches`.
    prefetch_partitions : int
        As in `iter_batches`.
    rank, world_size : int, optional
        None: of ``torch.distributed`` where it is initialised, else of the environment variables
        RANK and WORLD_SIZE, else one rank.

    Returns
    -------
    torch.utils.data.IterableDataset
        With ``set_epoch(epoch)``: shuffles anew, and moves random ops (``random_flip``, ...) on
        by `epoch`. It reaches DataLoader workers that are kept from epoch to epoch too.
        ``len(dataset)`` is the number of batches of this rank, where rows are known without
        computing them (after a filter: a TypeError that says so); the workers of a DataLoader,
        each with a last batch of its own, may make some more.

    Notes
    -----
    Ranks make equally many batches, so that none waits for another at the end: where shares of
    rows differ by one, a last batch is split in two. Not so where the number of rows is not known
    before pictures are read (a filter on pixels, ``on_null="drop"``, a stage over partitions), or
    is smaller than that of ranks: use ``torch.distributed.algorithms.Join`` there.

    Examples
    --------
    >>> df = di.read_images(folder, size=(8, 8), mode="RGB")
    >>> df = df.assign(label=df.path.str.endswith("png").astype("int64"))
    >>> [(tuple(x.shape), y.tolist()) for x, y in df.img.to_torch("image", "label", batch_size=3)]
    [((3, 3, 8, 8), [0, 1, 0]), ((1, 3, 8, 8), [1])]
    """
    from daskimg.export.torch_dataset import TorchDataset

    names = [feature_columns] if isinstance(feature_columns, str) else list(feature_columns)
    if not names:
        raise ValueError("feature_columns: expected at least one column; got none")
    if label_column is not None and not isinstance(label_column, str):
        if len(label_column) != 1:
            raise ValueError(f"label_column: expected one column; got {list(label_column)}")
        (label_column,) = label_column
    wanted = list(dict.fromkeys([*names, *([] if label_column is None else [label_column])]))
    return TorchDataset(
        Dataset(chosen(frame, wanted)),
        names,
        label_column,
        batch_size=batch_size,
        channels_last=channels_last,
        dtypes=dtypes,
        shuffle=shuffle,
        seed=seed,
        shuffle_buffer=shuffle_buffer,
        drop_last=drop_last,
        on_null=on_null,
        prefetch_partitions=prefetch_partitions,
        rank=rank,
        world_size=world_size,
    )
