"""WebDataset shards: tar files of samples, read and written."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, BinaryIO

import dask.dataframe as dd
import numpy as np
import pandas as pd

from daskimg.column.dtype import check_policy
from daskimg.engine.ops import policy_of
from daskimg.engine.program import STRING
from daskimg.errors import quoted, whole
from daskimg.io import shards as sh
from daskimg.io.commit.failures import count, image_columns
from daskimg.io.commit.run import Run
from daskimg.io.commit.write import Output, as_dask
from daskimg.io.commit.writing import Mode
from daskimg.io.parquet.failures import write_committed
from daskimg.io.rows import IMAGE, Record, failed, meta_of, parsed, refuse, to_frame
from daskimg.io.webdataset.archive import FAULTS, Archive
from daskimg.io.webdataset.members import tar_of
from daskimg.io.webdataset.samples import KEY, Sample, dtype_of, plain_tar, samples, value_of
from daskimg.transport import fetch
from daskimg.words import READERS, WRITERS, known_as

__all__ = ["read_webdataset", "write_webdataset"]

NAMES = re.compile(r"\.(tar|tar\.gz|tgz)$", re.IGNORECASE)
FIRST_SAMPLES, FIRST_BYTES = 100, 64 * 2**20  # that tell the columns


@known_as(READERS)
def read_webdataset(
    urlpath: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    extensions: Sequence[str] | None = None,
    on_error: str | None = None,
    rows_per_partition: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> dd.DataFrame:
    """Read tar shards as a Dask DataFrame, a row for each sample, a column for each extension.

    A sample is the members whose names agree up to the first dot of the file name, next to each
    other in the tar, as the webdataset package groups them. Nothing is extracted to disk. Left
    out are folders, names without a dot or with a leading one, and what systems leave in archives
    (``__MACOSX/``, ``Thumbs.db``, ``PaxHeader/``). A link is the file in the archive that it
    names; to anything else, a device or a FIFO it is a failed cell. Tar files one after another in
    a file are read on, and one without an end mark is whole if it ends between two members.

    Parameters
    ----------
    urlpath : str, path, or a list of these
        A tar file (also gzipped), a folder, a glob or ``{train,val}-{000..099}.tar``, on any
        fsspec filesystem. A list keeps its order.
    extensions : list of str, optional
        The members to read, others are left out: ``["jpg", "cls"]``. None: all that the first
        samples have; a sample that has another one then fails.
    on_error : {"raise", "null"}, optional
        What a damaged sample does: end the run with an `ImageError`, or become a row of nulls
        with a reason in its image columns. Where a tar file breaks, the sample that breaks off
        is that row (its key null where its name is lost); what follows in it is lost. A member
        that does not hold what its name says, or is there twice, fails its own cell only, where
        it is asked for: what a picture is does not depend on the members beside it. An image or
        tensor holds the reason; of a json, text or number that is null for one, a warning tells
        the first of each file, and `stats` how many (stage ``read``).
    rows_per_partition : int, optional
        Cut shards into partitions of so many samples at most: the shards are looked through when
        the frame is made, and the index numbers all rows. None: a shard is a partition; the
        index of sample ``r`` of shard ``s`` is ``s * 10**9 + r``.
    storage_options : dict, optional
        Options of the filesystem.

    Returns
    -------
    dask.dataframe.DataFrame
        ``__key__``, then a column named by each extension: pictures ``image[encoded]`` (their
        path is ``tar://member::shard``, a chain, which `images` opens where
        ``daskimg.allow-paths`` lists ``tar://::shard``), ``cls`` and the like ``Int64``,
        ``txt`` strings, ``json`` what it holds (dtype ``json``), ``npy`` ``tensor[pixels]``,
        others bytes. Building it reads headers of the first shard, and nothing with `extensions`.

    Raises
    ------
    FileNotFoundError
        When nothing matches.
    ValueError
        When the first shards hold no sample, and `extensions` is not given.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> df.assign(cls=7).img.write_webdataset("shards")
    WriteResult(4 written)
    >>> di.read_webdataset("shards", extensions=["jpg", "cls"]).dtypes.astype(str).tolist()
    ['string', 'image[encoded]', 'Int64']
    """
    if rows_per_partition is not None:
        rows_per_partition = whole("rows_per_partition", rows_per_partition)
    if isinstance(extensions, str):
        raise TypeError(f'extensions is a list such as ["jpg", "cls"]; got {quoted(extensions)}')
    policy = check_policy(on_error)
    source = fetch.Source(storage_options)
    shards = sh.list_shards(urlpath, NAMES, source)
    tars = Tars(source, policy_of(IMAGE.derive("encoded", on_error=policy)))
    if extensions is None:
        names, given = tars.first(shards), False
    else:
        names, given = [name.strip().lstrip(".").lower() for name in extensions], True
    dtypes = {KEY: STRING, **{name: dtype_of(name, policy) for name in names}}
    reader = Reader(tars, dtypes, given)
    meta = meta_of(dtypes)
    return sh.from_shards(
        reader, shards, rows_per_partition, tars.positions, meta, "read-webdataset"
    )


@dataclass(frozen=True)
class Tars:
    """How the shards are opened."""

    source: fetch.Source
    policy: str

    def samples(self, part: sh.Part) -> Iterator[tuple[Archive, Sample]]:
        """The samples of a part."""
        with ExitStack() as stack:

            def whole() -> BinaryIO:
                return stack.enter_context(sh.open_shard(part.shard, self.source, head=True))

            if part.end is not None:
                data = sh.read_range(part.shard, self.source, part.start, part.end)
                archive = Archive(io.BytesIO(data), whole=whole)
                yield from ((archive, sample) for sample in samples(archive))
                return
            file = stack.enter_context(sh.open_shard(part.shard, self.source))
            archive = Archive(*plain_tar(file))
            stop = None if part.rows is None else part.first + part.rows
            for sample in itertools.islice(samples(archive), part.first, stop):
                yield archive, sample

    def first(self, shards: Sequence[sh.Shard]) -> list[str]:
        """The extensions of the first samples, in the order met."""
        for shard in shards:
            names: dict[str, None] = {}
            with sh.open_shard(shard, self.source, head=True) as file:
                archive = Archive(*plain_tar(file, FIRST_BYTES))
                for sample in itertools.islice(samples(archive), FIRST_SAMPLES):
                    if sample.error is None:
                        names.update(dict.fromkeys(sample.members))
                    elif not names:
                        refuse(failed(shard.path, sample.error), self.policy)
            if names:
                return [*names]
        raise ValueError(
            f"no sample in {shards[0].shown!r}{' and what follows' if len(shards) > 1 else ''}: "
            "the columns are not known; give extensions="
        )

    def positions(self, shard: sh.Shard) -> sh.Positions:
        """Where the samples of a shard begin: all of it is looked through."""
        with sh.open_shard(shard, self.source) as file:
            plain, problem = plain_tar(file)
            starts = [sample.start for sample in samples(Archive(plain, problem))]
            return starts, file.seek(0, io.SEEK_END) if plain is file else None


@dataclass(frozen=True)
class Reader:
    """Reads one part."""

    tars: Tars
    dtypes: Mapping[str, Any]
    given: bool  # members that are no column are left out

    def spans(self, part: sh.Part, columns: Any) -> Any:
        """What is read of a file elsewhere."""
        return part.spans(self.tars.source)

    def __call__(self, part: sh.Part, columns: Sequence[str]) -> pd.DataFrame:
        asked = {name: self.dtypes[name] for name in columns}
        records = (
            self._record(archive, sample, part.shard, columns)
            for archive, sample in self.tars.samples(part)
        )
        return to_frame(records, asked, part.row, self.tars.policy, self.dtypes)

    def _record(
        self, archive: Archive, sample: Sample, shard: sh.Shard, columns: Sequence[str]
    ) -> Record:
        place = f"{shard.path}#{sample.key}" if sample.key else shard.path
        known = {KEY: sample.key} if sample.key else {}
        members, error = sample.members, sample.error
        if error is None and not self.given and (more := members.keys() - self.dtypes.keys()):
            error = ValueError(
                f"a member with the extension {quoted(min(more))}, which the first samples do not "
                "have: name those to read with extensions="
            )
        if error is not None:
            return failed(place, error, **known)

        def value(name: str) -> Any:
            return value_of(archive, members[name], name, shard.path)

        there = [name for name in columns if name in members]
        return parsed(place, value, there, known, FAULTS)


# -- writing --------------------------------------------------------------------------------------
@known_as(WRITERS)
def write_webdataset(
    df: Any,
    path: str | os.PathLike[str],
    *,
    compression: str | None = None,
    mode: Mode = "error",
    storage_options: Mapping[str, Any] | None = None,
    compute: bool = True,
    errors: str | os.PathLike[str] | None = None,
) -> Any:
    """Write each row as a sample of a tar shard, a shard for each partition.

    A picture is a member named by its format (``jpg``, ``png``; pixels become PNG), or by its
    column, if that is called ``jpg`` or ``seg.png``; of several image columns each is
    ``<column>.<format>``. Columns called ``txt``, ``cls``, ``json`` and the like are members of
    their own, bytes too, tensors are ``<column>.npy``; all other columns go into ``json``. The
    key is the column ``__key__`` if there is one, else made of partition and row. Nulls are left
    out; so is a row with a picture that failed, and counted. The index is not written.

    Parameters
    ----------
    df : DataFrame
        Dask or pandas.
    path : str or path
        A folder, on any filesystem.
    compression : {None, "gzip"}
        Of whole shards.
    mode, storage_options, compute, errors
        As in `write_parquet`.

    Returns
    -------
    WriteResult
        Or, with ``compute=False``, a Dask scalar that computes to one.

    Raises
    ------
    FileExistsError
        In mode "error", when `path` is not empty.
    ValueError
        For keys that are not safe or occur twice, and pixels that PNG cannot hold.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> result = df.assign(label="cat").img.write_webdataset("shards")
    >>> [file.rpartition("/")[2] for file in result.files]
    ['part-00000.tar']
    >>> di.read_webdataset("shards").compute().json[0]["label"]
    'cat'
    """
    if compression not in (None, "gzip"):
        raise ValueError(f'compression is None or "gzip"; got {compression!r}')
    frame = sh.with_bytes(as_dask(df), "a tar shard")
    if bad := [name for name in frame.columns if "/" in name or not name]:
        raise ValueError(f"columns become extensions of members: rename {bad[0]!r}")
    part = Writer(compression, tuple(image_columns(frame)))
    out = Output(path, mode, storage_options, compute, errors)
    return write_committed(frame, part, out, "webdataset")


@dataclass(frozen=True)
class Writer:
    """Writes the samples of one partition."""

    compression: str | None
    images: tuple[str, ...]

    def __call__(self, frame: pd.DataFrame, run: Run, number: int) -> dict[str, Any]:
        census = count(frame, self.images)
        rows = np.flatnonzero(~census.failed)
        files = [self._file(frame.iloc[rows], rows, run, number)] if len(rows) else []
        return {**census.ticket(), "files": files}

    def _file(self, frame: pd.DataFrame, rows: Any, run: Run, number: int) -> dict[str, Any]:
        stem = run.part_name(number, "").removeprefix("part-")
        data = tar_of(frame, [f"{stem}-{row:06d}" for row in rows])
        if self.compression == "gzip":
            return run.put(run.part_name(number, ".tar.gz"), gzip.compress(data, 6, mtime=0))
        return run.put(run.part_name(number, ".tar"), data)
