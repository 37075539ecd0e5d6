"""Which files a ``urlpath`` stands for: listed once, sorted, none of them opened."""

from __future__ import annotations

import errno
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice, pairwise, repeat
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from daskimg.column.dtype import common_root
from daskimg.errors import brief, quoted
from daskimg.io.listing.braces import expanded
from daskimg.io.listing.walk import Found, Local, Remote, Tree, as_url, name_of, own_part
from daskimg.kernels.headers import EXTENSIONS
from daskimg.secrets import mask_url
from daskimg.transport.fetch import Source, local_path

__all__ = ["Listing", "UrlPath", "given_paths", "known_extensions", "list_images"]

UrlPath: TypeAlias = str | os.PathLike[str]

CHUNK = 65_536  # paths turned to Arrow at a time


@dataclass(frozen=True)
class Listing:
    """The files found: those of each path that was given sorted, one path after the other.

    Attributes
    ----------
    paths : pyarrow.LargeStringArray
        Absolute, with their protocol unless local.
    sizes : numpy.ndarray of int64, or None
        Encoded bytes of each file; None where the listing does not tell.
    roots : numpy.ndarray of int64
        For each path, the length of its root: partition folders and templates count below it.
    root : str, optional
        The folder that all roots are, or lie in, with its slash.
    given : tuple of str
        The paths that were asked for, one for each choice of their braces.
    """

    paths: pa.LargeStringArray
    sizes: np.ndarray[Any, np.dtype[np.int64]] | None
    roots: np.ndarray[Any, np.dtype[np.int64]]
    root: str | None = None
    given: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


def list_images(
    urlpath: UrlPath | Iterable[UrlPath],
    *,
    file_extensions: str | Iterable[str] | None = None,
    recursive: bool = True,
    ignore_missing_paths: bool = False,
    storage_options: Mapping[str, Any] | Source | None = None,
    manifest: Callable[[str, Source], list[Found] | None] = lambda folder, source: None,
) -> Listing:
    """List the files of a file, a folder, a glob, or a list of these.

    A path that exists as it is written is that file or folder, glob characters or not. In
    others ``{000..123}`` and ``{a,b}`` stand for several paths, each of which has to be there. A
    glob (``*``, ``?``, ``[...]``, ``**``) that matches folders only stands for the files in them.
    A list keeps its order; the files of a folder or glob in it are sorted. A list of files alone
    is as long as it was given; else a file is taken once, where it came first.

    Below a folder, names that start with a dot and what systems and writers put there are skipped
    (``__MACOSX``, ``Thumbs.db``, ``desktop.ini``, ``@eaDir``, ``_SUCCESS``, ``_metadata``,
    ``_daskimg``); links to folders are followed, except in circles; a link to a file that is not
    there is a file that cannot be read.

    Parameters
    ----------
    urlpath : str, os.PathLike, or an iterable of these
        On any fsspec filesystem.
    file_extensions : str or iterable of str, optional
        Extensions to take, compared without case, with or without their dot; ``"*"`` takes every
        file. Default: those a codec is known for. A file named as such is always taken, and
        with the default so is what a glob matches that ends in an extension (``"*.dat"``).
    recursive : bool
        Enter the folders below a folder.
    ignore_missing_paths : bool
        Drop the entries of a list that match nothing, as long as one matches.
    storage_options : mapping or Source, optional
        Options of the filesystem.
    manifest : callable, optional
        ``manifest(folder, source)`` gives the files that count in a folder, in their order; None
        of one that nobody told about.

    Returns
    -------
    Listing

    Raises
    ------
    FileNotFoundError
        Naming the path that does not exist or holds no such file.

    Examples
    --------
    >>> import fsspec
    >>> fsspec.filesystem("memory").pipe({"/pets/cat/1.jpg": b"123", "/pets/dog/1.PNG": b"12"})
    >>> listing = list_images("memory://pets")
    >>> listing.paths.to_pylist(), listing.sizes
    (['memory://pets/cat/1.jpg', 'memory://pets/dog/1.PNG'], array([3, 2]))
    """
    source = storage_options if isinstance(storage_options, Source) else Source(storage_options)
    entries = given_paths(urlpath, source)
    known = known_extensions(file_extensions)
    local = Local()
    places = [local_path(entry) for entry in entries]
    remote = Remote(
        (entry for entry, place in zip(entries, places, strict=True) if place is None), source
    )
    files = _Files()
    missing: FileNotFoundError | None = None

    def told(folder: str) -> list[Found] | None:
        return manifest(folder, source)

    for entry, on_disk in zip(entries, places, strict=True):
        tree, path = (remote, entry) if on_disk is None else (local, on_disk)
        try:
            _add(files, tree, path, known, recursive, told)
        except FileNotFoundError as error:
            if not ignore_missing_paths:
                raise
            missing = missing or error
    if missing is not None and not len(files):
        raise missing
    return replace(files.listing(), given=tuple(entries))


class _Extensions:
    """Accepts names by their extension, and remembers the extensions it refused."""

    def __init__(self, known: frozenset[str] | None) -> None:
        self.known = known
        self.refused: Counter[str] = Counter()
        self._compound = tuple(one for one in known or () if one.count(".") > 1)  # .tar.gz

    def __call__(self, name: str) -> bool:
        known = self.known
        if known is None:
            return True
        dot = name.rfind(".")
        extension = name[dot:].lower() if dot > 0 else ""
        if extension in known or (self._compound and name.lower().endswith(self._compound)):
            return True
        self.refused[extension] += 1
        return False


class _Files:
    """Files as they are found; paths become Arrow a chunk at a time."""

    def __init__(self) -> None:
        self._chunks: list[pa.LargeStringArray] = [pa.array([], pa.large_string())]
        self._sizes, self._roots, self._entries = array("q"), array("q"), array("q")
        self._named: list[str] = []  # that are not Arrow yet
        self._folders: dict[str, None] = {}
        self._searched = 0  # folders and globs

    def __len__(self) -> int:
        return len(self._sizes)

    def name(self, file: Found) -> None:
        """A file that was given itself."""
        own = own_part(file.path)
        base = own[: own.rfind("/") + 1]
        self._named.append(file.path)
        self._folders[base.rstrip("/") + "/"] = None
        self._sizes.append(-1 if file.size is None else file.size)
        self._roots.append(len(base))
        self._entries.append(0)
        if len(self._named) == CHUNK:
            self._flush()

    def search(self, found: Iterable[Found], base: str, ordered: bool = False) -> None:
        """Files found below `base`, where partition folders begin; to be sorted, or in order."""
        self._flush()
        self._searched += 1
        files = iter(found)
        while some := list(islice(files, CHUNK)):
            self._note(some, base, 0 if ordered else self._searched)
            self._pack([file.path for file in some])

    def _note(self, files: list[Found], base: str, entry: int) -> None:
        self._folders[base.rstrip("/") + "/"] = None
        self._sizes.extend(-1 if file.size is None else file.size for file in files)
        self._roots.extend(repeat(len(base), len(files)))
        self._entries.extend(repeat(entry, len(files)))

    def listing(self) -> Listing:
        self._flush()
        paths = pa.concat_arrays(self._chunks)
        rows = np.arange(len(paths))
        if self._searched:
            rows = self._sorted(paths)
            paths = paths.take(pa.array(rows))
            keep = ~pd.Series(paths, dtype=pd.ArrowDtype(paths.type)).duplicated().to_numpy()
            if not keep.all():
                paths, rows = paths.filter(pa.array(keep)), rows[keep]
        sizes = np.frombuffer(self._sizes, np.int64)[rows]
        roots = np.frombuffer(self._roots, np.int64)[rows]
        root = common_root(self._folders)
        return Listing(paths, None if (sizes < 0).any() else sizes, roots, root)

    def _sorted(self, paths: pa.LargeStringArray) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Rows with the files of each folder or glob in order, and the others where they are."""
        entries = np.frombuffer(self._entries, np.int64)
        bounds = [0, *(np.flatnonzero(np.diff(entries)) + 1).tolist(), len(entries)]
        rows = np.arange(len(paths))
        for start, stop in pairwise(bounds):
            if stop > start and entries[start]:
                rows[start:stop] = start + pc.sort_indices(paths[start:stop]).to_numpy()
        return rows

    def _flush(self) -> None:
        self._pack(self._named)
        self._named = []

    def _pack(self, paths: list[str]) -> None:
        try:
            self._chunks.append(pa.array(paths, pa.large_string()))
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the file name {error.object!r} is not UTF-8 and cannot be a string in a column: "
                "rename the file"
            ) from None


def _add(
    files: _Files,
    tree: Tree,
    entry: str,
    known: _Known,
    recursive: bool,
    manifest: Callable[[str], list[Found] | None],
) -> None:
    """Add the files of one entry, or raise FileNotFoundError naming it."""
    found = tree.find(entry)
    if found is not None and not found.folder:
        files.name(found)
        return
    before = len(files)
    accept = _Extensions(known.of(entry) if found is None else known.extensions)
    if found is not None:
        root, told = own_part(found.path), manifest(found.path)
        if told is None:
            files.search(tree.walk(found.path, recursive, accept), root)
        else:
            files.search((file for file in told if accept(name_of(file.path))), root, ordered=True)
    else:
        root = tree.base(entry)
        if not root:
            raise FileNotFoundError(
                errno.ENOENT, "No such file or directory", brief(mask_url(entry))
            )
        folders: list[str] = []
        files.search(_files_of(tree.glob(entry), accept, folders), root)
        if len(files) == before:
            for folder in folders:
                files.search(tree.walk(folder, recursive, accept), root)
    if len(files) == before:
        raise FileNotFoundError(_no_match(brief(mask_url(entry)), accept, recursive))


def _files_of(matches: Iterable[Found], accept: _Extensions, folders: list[str]) -> Iterator[Found]:
    """The files among what a glob matches that are accepted; `folders` takes the others."""
    for match in matches:
        if match.folder:
            folders.append(match.path)
        elif accept(name_of(match.path)):
            yield match


def _no_match(entry: str, accept: _Extensions, recursive: bool) -> str:
    text = f"no picture in {quoted(entry)}"
    if accept.known is None:
        text = f"no file in {quoted(entry)}"
    else:
        looked = sorted(accept.known)
        text += ": looked for " + ", ".join(looked[:12]) + (", ..." if len(looked) > 12 else "")
    if accept.refused:
        seen = ", ".join(f"{name or 'none'} ({n})" for name, n in accept.refused.most_common(5))
        text += (
            f"; saw {accept.refused.total()} files with other extensions: {seen}. "
            "Name those to take with file_extensions=[...]"
        )
    if not recursive:
        text += ". recursive=False: folders in it were not entered"
    return text


class _Known(NamedTuple):
    """The extensions to take; None takes every file."""

    extensions: frozenset[str] | None
    asked: bool  # by the user

    def of(self, pattern: str) -> frozenset[str] | None:
        """Those for a glob, which may name its extension itself."""
        name = name_of(pattern)
        _, dot, extension = name.rpartition(".")
        names_it = bool(dot and extension) and not any(sign in extension for sign in "*?[]")
        return None if names_it and not self.asked else self.extensions


def known_extensions(given: str | Iterable[str] | None) -> _Known:
    """What ``file_extensions=`` asks for."""
    if given is None:
        return _Known(EXTENSIONS, asked=False)
    given = [given] if isinstance(given, str) else list(given)
    if not given or not all(isinstance(one, str) and one.strip(". ") for one in given):
        raise ValueError(
            'file_extensions: expected extensions such as ["jpg", "png"], or "*", '
            f"got {quoted(given)}"
        )
    if "*" in given:
        return _Known(None, asked=True)
    return _Known(frozenset("." + one.strip().lstrip("*.").lower() for one in given), asked=True)


def given_paths(urlpath: UrlPath | Iterable[UrlPath], source: Source) -> list[str]:
    """The paths that a `urlpath` names: one, or several by a list or by braces.

    Braces (``{000..123}``, ``{a,b}``) in a path that exists as it is written are its name.
    """
    entries: list[str] = []
    for entry in _entries(urlpath):
        if "{" not in entry:
            entries.append(entry)
            continue
        choices = expanded(entry)
        entries += [entry] if choices != [entry] and _exists(entry, source) else choices
    return entries


def _exists(path: str, source: Source) -> bool:
    local = local_path(path)
    tree: Tree = Local() if local is not None else Remote([path], source)
    return tree.find(local or path) is not None


def _entries(urlpath: UrlPath | Iterable[UrlPath]) -> list[str]:
    single = isinstance(urlpath, str | bytes | os.PathLike) or not isinstance(urlpath, Iterable)
    given: Iterable[Any] = [urlpath] if single else cast(Iterable[Any], urlpath)
    if isinstance(given, set | frozenset):  # whose order is another in each process
        given = sorted(given, key=str)
    entries: list[str] = []
    for one in given:
        path = os.fspath(one) if isinstance(one, str | os.PathLike) else None
        if not isinstance(path, str):
            raise TypeError(
                "urlpath: expected a path (str or os.PathLike) or a list of these, got "
                f"{type(one).__name__}"
            )
        path = as_url(path)
        if not path:
            raise ValueError("urlpath: an empty string is no path; the current folder is '.'")
        entries.append(path)
    if not entries:
        raise ValueError("urlpath: the list is empty; give at least one path")
    return entries
