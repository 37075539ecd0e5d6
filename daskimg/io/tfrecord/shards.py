"""TFRecord files of tf.train.Example: read without TensorFlow, and written for it."""

from __future__ import annotations

import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import dask.dataframe as dd
import numpy as np
import pandas as pd

from daskimg.column.dtype import check_policy
from daskimg.engine.ops import policy_of
from daskimg.errors import quoted, whole
from daskimg.io import shards as sh
from daskimg.io.commit.failures import count, image_columns
from daskimg.io.commit.run import Run
from daskimg.io.commit.write import Output, as_dask
from daskimg.io.commit.writing import Mode
from daskimg.io.parquet.failures import write_committed
from daskimg.io.rows import IMAGE, Record, failed, meta_of, parsed, refuse, to_frame
from daskimg.io.tfrecord import example as ex
from daskimg.io.tfrecord.features import Spec, encoders, inferred, spec_of
from daskimg.transport import fetch
from daskimg.words import READERS, WRITERS, known_as

__all__ = ["read_tfrecords", "write_tfrecords"]

NAMES = re.compile(r"\.(tfrecords?|tfrec|tfr)(-\d+-of-\d+)?(\.(gz|gzip|z|zlib))?$", re.IGNORECASE)
FIRST_RECORDS, FIRST_BYTES = 256, 8 * 2**20  # that tell the columns
ENDINGS = {None: "", "GZIP": ".gz", "ZLIB": ".zlib"}


@known_as(READERS)
def read_tfrecords(
    urlpath: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    features: Mapping[str, Any] | Sequence[str] | None = None,
    image_columns: str | Sequence[str] | None = None,
    compression: str | None = "infer",
    verify_crc: bool = True,
    on_error: str | None = None,
    records_per_partition: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> dd.DataFrame:
    """Read tf.train.Example records as a Dask DataFrame, a column for each feature.

    Parameters
    ----------
    urlpath : str, path, or a list of these
        A file, a folder, a glob or ``{train,val}-{000..099}.tfrecord``, on any fsspec filesystem.
        A list keeps its order.
    features : dict or list of str, optional
        The columns: names, or a dict of name to ``"int64"``, ``"float32"``, ``"float64"``,
        ``"string"``, ``"bytes"``, ``"image"``, ``"list[...]"`` of one of the first five, or an
        array: ``"tensor[float32, 512]"``, ``"image[uint8, 28x28]"`` (of a list of numbers, or of
        raw bytes). None: every feature of the first records, sorted by name; those that only
        later records have are left out. Integers in some and floats in others are ``float64``.
    image_columns : str or list of str, optional
        Features of bytes that are pictures. None: those that begin as a picture's file does in
        the first records, in which some may be broken or empty; an empty list: none, they stay
        bytes.
    compression : {"infer", "GZIP", "ZLIB", None}
        Of whole files; ``"infer"`` looks at their first bytes.
    verify_crc : bool
        Check the checksums of every record.
    on_error : {"raise", "null"}, optional
        What a damaged record does: end the run with an `ImageError`, or become a row of nulls
        with a reason in its image columns. A damaged length loses the rest of its file: one row.
        A feature that is not of its column's kind fails its own cell only, where it is asked for.
        An image or tensor holds the reason; of a number or text that is null for one, a warning
        tells the first of each file, and `stats` how many (stage ``read``). A whole number is
        taken for a float, a float without a fraction for an integer.
    records_per_partition : int, optional
        Cut files into partitions of so many records at most: the files are looked through when
        the frame is made, and the index numbers all rows. None: a file is a partition; the index
        of record ``r`` of file ``f`` is ``f * 10**9 + r``.
    storage_options : dict, optional
        Options of the filesystem.

    Returns
    -------
    dask.dataframe.DataFrame
        Pictures are ``image[encoded]`` (their path is the file's with ``#`` and the record's
        number), numbers ``Int64`` and ``float32``, text ``string``; features of several values
        are lists (dtype ``json``). A feature that a record does not have is null. Building it
        reads the first records of the first file, nothing with a dict of `features`.

    Raises
    ------
    FileNotFoundError
        When nothing matches.
    ValueError
        For an unknown feature, kind or compression; a file without records and no `features`.

    Examples
    --------
    >>> di.read_images(folder).img.write_tfrecords("records")
    WriteResult(4 written)
    >>> df = di.read_tfrecords("records")
    >>> df.dtypes.astype(str).to_dict()
    {'image': 'image[encoded]', 'path': 'string'}
    >>> df.image.img.width.compute().tolist()
    [24, 24, 24, 24]
    """
    if records_per_partition is not None:
        records_per_partition = whole("records_per_partition", records_per_partition)
    if compression not in ("infer", *ex.COMPRESSIONS):
        raise ValueError(f'compression is "infer", "GZIP", "ZLIB" or None; got {compression!r}')
    policy = check_policy(on_error)
    pictures = [image_columns] if isinstance(image_columns, str) else image_columns
    source = fetch.Source(storage_options)
    shards = sh.list_shards(urlpath, NAMES, source)
    files = Files(
        source, compression, verify_crc, policy_of(IMAGE.derive("encoded", on_error=policy))
    )
    specs = _specs(features, pictures, policy, files, shards)
    reader = Reader(files, specs)
    meta = meta_of({name: spec.dtype for name, spec in specs.items()})
    return sh.from_shards(
        reader, shards, records_per_partition, files.positions, meta, "read-tfrecords"
    )


def _specs(
    features: Mapping[str, Any] | Sequence[str] | None,
    pictures: Sequence[str] | None,
    policy: str | None,
    files: Files,
    shards: Sequence[sh.Shard],
) -> dict[str, Spec]:
    if isinstance(features, Mapping):
        named = dict.fromkeys(pictures or (), "image")
        if unknown := [name for name in named if name not in features]:
            raise ValueError(f"image_columns: {unknown[0]!r} is not one of features")
        given = {**features, **named}
        return {name: spec_of(kind, name, policy) for name, kind in given.items()}
    if isinstance(features, str):
        raise TypeError(f"features is a dict or a list of names; got {quoted(features)}")
    specs = inferred(files.first(shards), pictures, policy)
    if features is None:
        return specs
    if missing := [name for name in features if name not in specs]:
        raise ValueError(
            f"features: the first records have no {missing[0]!r}, but {list(specs)}; name its "
            'kind: features={"name": "int64", ...}'
        )
    return {name: specs[name] for name in features}


@dataclass(frozen=True)
class Files:
    """How the files are opened."""

    source: fetch.Source
    compression: str | None
    verify: bool
    policy: str

    @contextmanager
    def opened(self, shard: sh.Shard, head: bool = False) -> Iterator[BinaryIO]:
        """A file's records."""
        with sh.open_shard(shard, self.source, head) as file:
            yield ex.decompressed(file, self.compression)

    def frames(self, part: sh.Part) -> Iterator[ex.Frame]:
        """The records of a part."""
        if part.end is not None:
            file: BinaryIO = io.BytesIO(
                sh.read_range(part.shard, self.source, part.start, part.end)
            )
            yield from ex.frames(file, self.verify, part.first)
            return
        with self.opened(part.shard) as file:
            stop = None if part.rows is None else part.first + part.rows
            yield from itertools.islice(ex.frames(file, self.verify), part.first, stop)

    def first(self, shards: Sequence[sh.Shard]) -> Iterator[Any]:
        """Some examples from the start of the first file that has any.

        Raises
        ------
        ImageError
            Under the policy "raise", for a damaged record.
        ValueError
            When there is none.
        """
        example = ex.example_class()
        for shard in shards:
            size = found = 0
            with self.opened(shard, head=True) as file:
                for frame in itertools.islice(ex.frames(file, self.verify), FIRST_RECORDS):
                    message = _message(frame, shard, example)
                    if isinstance(message, Record):
                        refuse(message, self.policy)
                        continue
                    yield message
                    found, size = found + 1, size + len(frame.data)
                    if size > FIRST_BYTES:
                        break
            if found:
                return
        raise ValueError(
            f"no record in {shards[0].shown!r}{' and what follows' if len(shards) > 1 else ''}: "
            "the columns are not known; give features="
        )

    def positions(self, shard: sh.Shard) -> sh.Positions:
        """Where the records of a file begin: all of it is looked through."""
        with sh.open_shard(shard, self.source) as file:
            packed = ex.sniffed(file) if self.compression == "infer" else self.compression
            if packed is None:
                return ex.positions(file, self.verify), file.seek(0, io.SEEK_END)
            return [0 for _ in ex.frames(ex.decompressed(file, packed), self.verify)], None


def _message(frame: ex.Frame, shard: sh.Shard, example: Any) -> Any:
    """The message of a frame, or the failed record it is."""
    place = f"{shard.path}#{frame.number}"
    if frame.error is not None:
        return failed(place, frame.error)
    try:
        return example.FromString(frame.data)
    except Exception as error:  # protobuf's DecodeError, which moves between its versions
        text = f"record {frame.number} is no tf.train.Example ({type(error).__name__})"
        return failed(place, ValueError(text))


@dataclass(frozen=True)
class Reader:
    """Reads one part."""

    files: Files
    specs: Mapping[str, Spec]

    def spans(self, part: sh.Part, columns: Any) -> Any:
        """What is read of a file elsewhere."""
        return part.spans(self.files.source)

    def __call__(self, part: sh.Part, columns: Sequence[str]) -> pd.DataFrame:
        every = {name: spec.dtype for name, spec in self.specs.items()}
        asked = {name: every[name] for name in columns}
        records = self._records(part, columns)
        return to_frame(records, asked, part.row, self.files.policy, every)

    def _records(self, part: sh.Part, columns: Sequence[str]) -> Iterator[Record]:
        example = ex.example_class()
        for frame in self.files.frames(part):
            message = _message(frame, part.shard, example)
            if isinstance(message, Record):
                yield message
            else:
                yield self._record(message, f"{part.shard.path}#{frame.number}", columns)

    def _record(self, message: Any, place: str, columns: Sequence[str]) -> Record:
        features = message.features.feature

        def value(name: str) -> Any:
            return self.specs[name].value(features[name], name, place)

        there = [name for name in columns if name in features]
        return parsed(place, value, there, {}, (ValueError, TypeError, OverflowError))


# -- writing --------------------------------------------------------------------------------------
@known_as(WRITERS)
def write_tfrecords(
    df: Any,
    path: str | os.PathLike[str],
    *,
    compression: str | None = None,
    mode: Mode = "error",
    storage_options: Mapping[str, Any] | None = None,
    compute: bool = True,
    errors: str | os.PathLike[str] | None = None,
) -> Any:
    """Write each row as a tf.train.Example, a TFRecord file for each partition.

    Pictures are the bytes of their files (pixels become PNG), integers int64 lists, floats
    float32 lists, text and bytes byte lists; lists have several values, tensors too, with their
    shape in ``<name>/shape`` if they have more than one axis. A null is a feature that is not
    there. A row with a picture that failed is left out, and counted. The index is not written.

    Parameters
    ----------
    df : DataFrame
        Dask or pandas.
    path : str or path
        A folder, on any filesystem.
    compression : {None, "GZIP", "ZLIB"}
        Of whole files; a reader in TensorFlow is told the same.
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
        For pixels that PNG cannot hold (floats), a value that no feature can hold.

    Examples
    --------
    >>> df = di.read_images(folder)
    >>> result = df.assign(label=1).img.write_tfrecords("records", compression="GZIP")
    >>> [file.rpartition("/")[2] for file in result.files]
    ['part-00000.tfrecord.gz']
    """
    if compression not in ENDINGS:
        raise ValueError(f'compression is None, "GZIP" or "ZLIB"; got {compression!r}')
    ex.example_class()  # tells now what is not installed
    frame = sh.with_bytes(as_dask(df), "a TFRecord")
    part = Writer(compression, tuple(image_columns(frame)))
    out = Output(path, mode, storage_options, compute, errors)
    return write_committed(frame, part, out, "tfrecord")


@dataclass(frozen=True)
class Writer:
    """Writes the records of one partition."""

    compression: str | None
    images: tuple[str, ...]

    def __call__(self, frame: pd.DataFrame, run: Run, number: int) -> dict[str, Any]:
        census = count(frame, self.images)
        rows = frame.iloc[np.flatnonzero(~census.failed)]
        files = [self._file(rows, run, number)] if len(rows) else []
        return {**census.ticket(), "files": files}

    def _file(self, frame: pd.DataFrame, run: Run, number: int) -> dict[str, Any]:
        example = ex.example_class()
        columns = encoders(frame)
        out = io.BytesIO()
        for row in range(len(frame)):
            message = example()
            for add in columns:
                add(row, message.features.feature)
            out.write(ex.frame_bytes(message.SerializeToString(deterministic=True)))
        name = run.part_name(number, f".tfrecord{ENDINGS[self.compression]}")
        return run.put(name, ex.compress(out.getvalue(), self.compression))
