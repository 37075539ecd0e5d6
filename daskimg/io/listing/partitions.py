"""Columns read off paths, and how rows are cut into partitions."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

import numpy as np
import pandas as pd
from dask.utils import parse_bytes
from pandas.api.extensions import ExtensionArray

from daskimg.compat import STR
from daskimg.errors import quoted, whole
from daskimg.io.listing.find import Listing
from daskimg.io.listing.walk import own_part
from daskimg.secrets import mask_url

__all__ = ["parse_partitions", "shuffle_order", "split_rows"]

Column: TypeAlias = "np.ndarray[Any, Any] | ExtensionArray"

RESERVED = ("path", "image")
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
FEWEST, MOST, WANTED = 16, 256, 128  # files a partition; partitions wanted in between
BLOCKSIZE = 32 * 2**20
CHUNK = 65_536

_INT = r"[+-]?[0-9]+"
_FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_KINDS = {"": r"[^/]+?", "s": r"[^/]+?", "d": _INT, "f": _FLOAT}


def parse_partitions(
    listing: Listing, partitioning: str | Sequence[str] | None
) -> dict[str, Column]:
    """The columns that the paths of a listing spell.

    Parameters
    ----------
    listing : Listing
    partitioning : None, "hive", list of str or str
        ``"hive"``: ``k=v`` folders below the root (and those it ends in), URL-unquoted, whose
        values become int64, float64 or strings, whichever holds all of them;
        ``__HIVE_DEFAULT_PARTITION__`` is null. A list: names of the folder levels below the
        root, kept as strings. A template of the path below the root, such as
        ``"{category}/{product_id:d}_{n}.jpg"``: fields are strings, ``:d`` int64, ``:f``
        float64; a field stays within a folder and takes as little as it can, a name used
        twice has to match the same text, and the extension matches without case. ``{**}``
        stands for any number of folders, so that ``"{**}/{label}/{name}"`` counts from the end.

    Returns
    -------
    dict of str to array
        In the order of the paths; nothing for None.

    Raises
    ------
    ValueError
        When a path does not fit (it is named), or a column would be called path or image.

    Examples
    --------
    >>> import fsspec
    >>> from daskimg.io.listing.find import list_images
    >>> fsspec.filesystem("memory").pipe({"/shop/cat/7_a.JPG": b"1", "/shop/dog/12_b.jpg": b"2"})
    >>> listing = list_images("memory://shop")
    >>> parse_partitions(listing, "{category}/{id:d}_{n}.jpg")["id"]
    array([ 7, 12])
    >>> list(parse_partitions(listing, ["label"])["label"])
    ['cat', 'dog']
    """
    if partitioning is None:
        return {}
    if partitioning == "hive":
        columns = _hive(listing)
    elif not isinstance(partitioning, str | list | tuple):
        raise TypeError(
            'partitioning: expected "hive", a list of folder level names, or a template; '
            f"got {quoted(partitioning)}"
        )
    elif isinstance(partitioning, str):
        columns = _template(listing, partitioning)
    else:
        columns = _levels(listing, list(partitioning))
    for name in columns:
        if name in RESERVED:
            raise ValueError(
                f"partitioning gives a column named {name!r}, which read_images makes itself: "
                "give the folder or field another name"
            )
    return columns


def split_rows(
    n: int,
    sizes: np.ndarray[Any, Any] | None,
    files_per_partition: int | None = None,
    blocksize: int | str | None = None,
) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where partitions begin, and where the last one ends.

    Parameters
    ----------
    n : int
        How many rows.
    sizes : array of int, optional
        Encoded bytes of each row, where known.
    files_per_partition : int, optional
        Default: ``clip(n // 128, 16, 256)``, which gives enough partitions to balance many
        threads and small enough ones to hold decoded; it does not depend on the machine.
    blocksize : int or str, optional
        The most encoded bytes of a partition, such as ``"64MiB"``; a larger file has one of its
        own. Default: 32 MiB, and no limit where ``files_per_partition`` is given.

    Returns
    -------
    numpy.ndarray
        One more than there are partitions; no rows make one empty partition.

    Examples
    --------
    >>> split_rows(40, None)
    array([ 0, 16, 32, 40])
    >>> split_rows(4, np.array([10, 10, 30, 5]), blocksize=25)
    array([0, 2, 3, 4])
    """
    if files_per_partition is None:
        most, limit = min(max(n // WANTED, FEWEST), MOST), float(BLOCKSIZE)
    else:
        most, limit = whole("files_per_partition", files_per_partition), np.inf
    if blocksize is not None:
        limit = parse_bytes(blocksize)
        if limit <= 0:
            raise ValueError(f"blocksize has to be at least one byte, got {quoted(blocksize)}")
    if n == 0:
        return np.zeros(2, np.int64)
    if sizes is None or limit == np.inf:
        return np.append(np.arange(0, n, most, dtype=np.int64), n)
    ends = np.cumsum(sizes, dtype=np.int64)
    bounds = [0]
    while bounds[-1] < n:
        start = bounds[-1]
        before = ends[start - 1] if start else 0
        fitting = int(np.searchsorted(ends, before + limit, side="right"))
        bounds.append(min(start + most, max(fitting, start + 1), n))
    return np.array(bounds, np.int64)


def shuffle_order(n: int, seed: int | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The order of ``n`` shuffled rows: always the same for a seed.

    Examples
    --------
    >>> shuffle_order(5, seed=0)
    array([2, 4, 3, 0, 1])
    """
    return np.random.default_rng(seed).permutation(n)


def _rows(listing: Listing) -> Iterator[tuple[str, int]]:
    """Each path with the length of its root, without holding all of them as Python strings."""
    for start in range(0, len(listing), CHUNK):
        paths = listing.paths.slice(start, CHUNK).to_pylist()
        roots = listing.roots[start : start + CHUNK].tolist()
        for path, root in zip(paths, roots, strict=True):
            yield own_part(path), root


def _by_folder(
    listing: Listing, parse: Callable[[str, int], dict[str, str | None]]
) -> tuple[dict[str, list[str | None]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Parse each folder once: the values of each column by folder, and each row's folder."""
    codes = np.empty(len(listing), np.int64)
    folders: dict[tuple[str, int], int] = {}
    parsed: list[dict[str, str | None]] = []
    for row, (path, root) in enumerate(_rows(listing)):
        key = path[: path.rfind("/") + 1], root
        code = folders.setdefault(key, len(folders))
        if code == len(parsed):
            parsed.append(parse(path, root))
        codes[row] = code
    names = dict.fromkeys(name for values in parsed for name in values)
    return {name: [values.get(name) for values in parsed] for name in names}, codes


def _hive(listing: Listing) -> dict[str, Column]:
    columns, codes = _by_folder(listing, _hive_folders)
    return {name: _inferred(values).take(codes) for name, values in columns.items()}


def _hive_folders(path: str, root: int) -> dict[str, str | None]:
    above = path[:root].strip("/").split("/")
    parts = path[root:].strip("/").split("/")[:-1]
    # the root "shop/year=2024" belongs to the row as well as the folders below it
    while above and "=" in above[-1]:
        parts.insert(0, above.pop())
    found: dict[str, str | None] = {}
    for part in parts:
        name, sign, value = part.partition("=")
        if not (sign and name):
            continue
        name, value = unquote(name), unquote(value)
        if name in found:
            raise ValueError(f"{mask_url(path)}: the folder key {name!r} occurs twice")
        found[name] = None if value == HIVE_NULL else value
    return found


def _levels(listing: Listing, names: list[str]) -> dict[str, Column]:
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"partitioning: expected names of folder levels, got {quoted(names)}")
    if len(set(names)) < len(names):
        raise ValueError(f"partitioning: a name occurs twice in {quoted(names)}")

    def parse(path: str, root: int) -> dict[str, str | None]:
        parts = path[root:].strip("/").split("/")[:-1]
        if len(parts) < len(names):
            raise ValueError(
                f"{mask_url(path)}: has {len(parts)} folder levels below its root "
                f"{mask_url(path[:root])!r}, but partitioning={quoted(names)} names {len(names)}"
            )
        return dict(zip(names, parts, strict=False))

    columns, codes = _by_folder(listing, parse)
    return {name: pd.array(columns.get(name, []), dtype=STR).take(codes) for name in names}


def _template(listing: Listing, template: str) -> dict[str, Column]:
    pattern, kinds = _compiled(template)
    values: dict[str, list[str]] = {name: [] for name in kinds}
    for path, root in _rows(listing):
        match = pattern.fullmatch(path[root:].strip("/"))
        if match is None:
            raise ValueError(
                f"{mask_url(path)}: {quoted(path[root:].strip('/'))} does not fit the template "
                f"partitioning={quoted(template)}"
            )
        for column, text in zip(values.values(), match.groups(), strict=True):
            column.append(text)
    return {name: _typed(name, texts, kinds[name]) for name, texts in values.items()}


def _compiled(template: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """The regular expression of a template, and the kind of each of its fields."""
    pieces: list[str] = []
    try:
        parts = list(string.Formatter().parse(template.strip("/")))
    except ValueError as error:
        raise ValueError(
            f"partitioning={quoted(template)}: expected fields like {{name}} or {{name:d}}: {error}"
        ) from None
    kinds: dict[str, str] = {}  # of a field that occurs twice, what one of them says
    for _, name, kind, _ in parts:
        if name and name != "**":
            kinds[name] = kinds.get(name) or (kind if kind in _KINDS else "")
    begun: set[str] = set()
    folders = False  # whether any number of them came right before
    for position, (literal, name, kind, conversion) in enumerate(parts):
        last = position == len(parts) - 1
        if folders:
            pieces.append("(?:.+/)?" if literal[:1] == "/" else ".*")
            literal = literal.removeprefix("/")
        folders = name == "**"
        stem, dot, extension = (
            literal.rpartition(".") if last and name is None else (literal, "", "")
        )
        pieces.append(re.escape(stem) + (rf"(?i:\.{re.escape(extension)})" if dot else ""))
        if name is None or folders:
            continue
        if not name or conversion or kind not in _KINDS:
            got = "{" + name + (f":{kind}" if kind else "") + "}"
            raise ValueError(
                f"partitioning={quoted(template)}: expected fields like {{name}}, {{name:d}} "
                f"(an integer), {{name:f}} (a number) or {{name:s}}, got {got}"
            )
        group = f"f{list(kinds).index(name)}"
        again = name in begun
        pieces.append(f"(?P={group})" if again else f"(?P<{group}>{_KINDS[kinds[name]]})")
        begun.add(name)
    if folders:
        pieces.append(".*")
    if not kinds:
        raise ValueError(
            f'partitioning={quoted(template)}: expected "hive", a list of folder level names, or a '
            'template with fields such as "{category}/{id:d}.jpg"'
        )
    return re.compile("".join(pieces)), kinds


def _typed(name: str, texts: list[str], kind: str) -> Column:
    if kind == "f":
        return np.array([float(text) for text in texts], np.float64)
    if kind != "d":
        return pd.array(texts, dtype=STR)
    try:
        return np.array([int(text) for text in texts], np.int64)
    except OverflowError:
        raise ValueError(
            f"the field {{{name}:d}} holds a number beyond 64 bits ({max(texts, key=len)}): "
            f"use {{{name}}}, a string"
        ) from None


def _inferred(values: list[str | None]) -> Column:
    """Strings as int64 where all are such integers, else float64, else strings."""
    known = [value for value in values if value is not None]
    if known and all(re.fullmatch(_INT, value) for value in known):
        numbers = [None if value is None else int(value) for value in values]
        if all(number is None or -(2**63) <= number < 2**63 for number in numbers):
            if len(known) < len(values):
                return pd.array(numbers, dtype="Int64")
            return np.array(numbers, np.int64)
    if known and all(re.fullmatch(_FLOAT, value) and _is_exact(value) for value in known):
        return np.array([np.nan if value is None else float(value) for value in values])
    return pd.array(values, dtype=STR)


def _is_exact(number: str) -> bool:
    """Whether a float holds a number of so many digits: else two of them could become one."""
    return re.fullmatch(_INT, number) is None or float(number) == int(number)
