"""The dataset that `to_torch` makes. Imported where torch is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import dask
import torch
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from daskimg.export.tensors import check_dtypes, dtype_of, nchw, tensor
from daskimg.stream import OnNull, check_batches, row_frames
from daskimg.stream.batches import batch_of, cut
from daskimg.stream.runners import Threads
from daskimg.stream.shards import Dataset, Reader, plan_batches
from daskimg.stream.window import runner

__all__ = ["TorchDataset"]

VARIABLES = ("RANK", "WORLD_SIZE")  # of the environment, as launchers set them


class TorchDataset(IterableDataset[tuple[Any, Any]]):
    """Batches ``(features, label)`` of the rows that are this reader's: see `to_torch`."""

    def __init__(
        self,
        data: Dataset,
        features: Sequence[str],
        label: str | None,
        *,
        batch_size: int,
        channels_last: bool,
        dtypes: Any,
        shuffle: bool | None,
        seed: int,
        shuffle_buffer: int | None,
        drop_last: bool,
        on_null: OnNull,
        prefetch_partitions: int,
        rank: int | None,
        world_size: int | None,
    ) -> None:
        check_batches(batch_size, "numpy", on_null, shuffle_buffer)
        self.data, self.features, self.label = data, list(features), label
        check_dtypes(dtypes, data.meta.columns)
        self.batch_size, self.drop_last, self.on_null = batch_size, drop_last, on_null
        self.channels_last, self.dtypes = channels_last, dtypes
        self.shuffle, self.seed, self.shuffle_buffer = shuffle, seed, shuffle_buffer
        self.prefetch_partitions = prefetch_partitions
        self.ranks = _together("rank and world_size", rank, world_size)
        # in shared memory: workers that a DataLoader keeps see what set_epoch wrote
        self._epoch = torch.full((), -1, dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Shuffle anew, and let random ops draw anew. The same number on every rank."""
        if epoch < 0:
            raise ValueError(f"an epoch is 0 or more; got {epoch}")
        self._epoch.fill_(epoch)

    @property
    def reader(self) -> Reader:
        """Which reader this is, here and now."""
        rank, ranks = self.ranks or _ranks()
        info = get_worker_info()
        if info is None:
            return Reader(rank, ranks)
        return Reader(rank, ranks, info.id, info.num_workers)

    def __getstate__(self) -> dict[str, Any]:
        # a spawned worker knows nothing of this process's group
        return {**self.__dict__, "ranks": self.ranks or _ranks()}

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        reader, epoch = self.reader, int(self._epoch)
        shuffle = epoch >= 0 if self.shuffle is None else self.shuffle
        epoch = max(epoch, 0)
        work = self.data.work(reader, epoch, self.seed if shuffle else None)
        if reader.workers > 1 or get_worker_info() is not None:
            threads = dask.config.get("num_workers", None) or dask.system.CPU_COUNT
            run: Any = Threads(max(1, threads // reader.workers))
        else:
            run = runner()
        drop = self.on_null == "drop"
        n = None if drop else self.data.rows()
        plan = None if n is None else plan_batches(n, reader, self.batch_size, self.drop_last)
        sizes: Iterable[int] = repeat(self.batch_size) if plan is None else plan
        found = row_frames(
            work,
            run,
            ahead=self.prefetch_partitions,
            batch=self.batch_size,
            drop=drop,
            shuffle_buffer=self.shuffle_buffer if shuffle else None,
            seed=[self.seed, epoch, reader.rank, reader.worker],
        )
        try:
            for rows in cut(found, sizes, self.drop_last):
                batch = batch_of(rows, "numpy", self.on_null)
                label = None if self.label is None else self._tensor(batch, self.label, "label")
                made = {name: self._tensor(batch, name) for name in self.features}
                yield (made if len(made) > 1 else made[self.features[0]]), label
        finally:
            found.close()

    def __len__(self) -> int:
        n = None if self.on_null == "drop" else self.data.rows()
        if n is None:
            raise TypeError(
                "how many batches there are is not known before the rows are computed: a filter, "
                'on_null="drop" and a stage over partitions may leave some out. Iterate without '
                "it, or write the filtered rows, and take to_torch() of what is read back"
            )
        rank, ranks = self.ranks or _ranks()
        reader = Reader(rank, ranks)
        plan = plan_batches(n, reader, self.batch_size, self.drop_last)
        if plan is not None:
            return len(plan)
        start, stop = reader.bounds(n)
        return -(-(stop - start) // self.batch_size)

    def _tensor(self, batch: dict[str, Any], name: str, what: str = "feature") -> torch.Tensor:
        values = batch[name]
        dtype = dtype_of(self.dtypes, name)
        if what == "label" and not isinstance(self.dtypes, Mapping):
            dtype = None
        if isinstance(values, list):
            raise ValueError(
                f"a batch of {name!r} needs pictures of one shape and dtype; these differ: "
                f'give them one with .img.convert("RGB") and .img.resize(height, width)'
            )
        if values.dtype.kind not in "biuf":
            raise TypeError(
                f"the {what} {name!r} is not of numbers ({self.data.meta.dtypes[name]}): map it "
                'to numbers first, for example with .astype("category").cat.codes'
            )
        kind = self.data.meta.dtypes[name]
        if getattr(kind, "holds_pixels", False) and not kind.tensor:
            return nchw(values, self.channels_last, dtype)
        return tensor(values, dtype)


def _ranks() -> tuple[int, int]:
    group = torch.distributed
    if group.is_available() and group.is_initialized():
        return group.get_rank(), group.get_world_size()
    told = [None if text is None else int(text) for text in map(os.environ.get, VARIABLES)]
    return _together(" and ".join(VARIABLES), *told) or (0, 1)


def _together(names: str, rank: int | None, ranks: int | None) -> tuple[int, int] | None:
    if rank is None and ranks is None:
        return None
    if rank is None or ranks is None or not 0 <= rank < ranks:
        raise ValueError(f"{names} go together, the first below the second; got {rank}, {ranks}")
    return rank, ranks
