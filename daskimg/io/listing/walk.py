"""Walking and globbing, on the local disk and on any fsspec filesystem, behind one interface.

Listing is one question to a remote store (with the sizes in its answer), never one per file.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from fsspec.utils import glob_translate

from daskimg.transport.fetch import Source
from daskimg.transport.keys import UnlistableError, keys
from daskimg.transport.retry import retrying

__all__ = ["Found", "Local", "Remote", "Tree", "as_url", "name_of", "no_slash", "own_part"]

#: Names below a folder that are not data; so are those that start with a dot.
SKIPPED = frozenset(
    {"_SUCCESS", "_metadata", "_daskimg"}  # of those who write data
    | {"__MACOSX", "Thumbs.db", "desktop.ini", "$RECYCLE.BIN", "@eaDir"}  # of systems
)
#: So many files named in one remote folder are checked by listing it, fewer by asking for each.
LIST_FROM = 64
ASK_AT_ONCE = 16
RETRIES = 3
WEB = ("http://", "https://")
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)

Accept = Callable[[str], bool]

# How a URL begins; a file's may name this machine.
_SCHEME = re.compile(r"\A(file://)localhost(?=/)|\A([a-z][a-z0-9+.-]+:/)", re.IGNORECASE)

# Paths that are absolute, and as short as they can be written, on systems of "/".
_PLAIN = re.compile(r"(/(?!\.{1,2}(/|\Z))[^/]+)+\Z") if os.sep == "/" else re.compile(r"\Z.")


class Found(NamedTuple):
    """A file or folder: its path as the user will see it, and its size where that came free."""

    path: str
    size: int | None
    folder: bool = False


class Tree(Protocol):
    """What a listing asks of a place that holds files."""

    def find(self, path: str) -> Found | None:
        """What exists under exactly this path."""

    def walk(self, folder: str, recursive: bool, accept: Accept) -> Iterator[Found]:
        """The files below a folder whose name is accepted."""

    def base(self, pattern: str) -> str:
        """The folder before the first wildcard of a pattern; "" when it has no wildcard."""

    def glob(self, pattern: str) -> Iterator[Found]:
        """The files and folders that a pattern matches."""


class Local:
    """The local disk."""

    def find(self, path: str) -> Found | None:
        if not _PLAIN.match(path):
            path = os.path.abspath(os.path.expanduser(path))
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno in NOT_THERE:
                return None
            raise
        return Found(path, status.st_size, stat.S_ISDIR(status.st_mode))

    def walk(self, folder: str, recursive: bool, accept: Accept) -> Iterator[Found]:
        # with each folder, the real folders it lies in: a link back to one of them is a circle
        todo = [(folder, frozenset(_identity(os.stat(one)) for one in _upwards(folder)))]
        while todo:
            folder, above = todo.pop()
            try:
                found = os.scandir(folder)
            except OSError as error:
                if error.errno not in NOT_THERE:  # else it went meanwhile
                    raise
                continue
            with found as entries:
                for entry in entries:
                    name = entry.name
                    if name[0] == "." or name in SKIPPED:
                        continue
                    try:
                        if entry.is_dir():
                            if recursive:
                                identity = _identity(os.stat(entry.path))
                                if not (entry.is_symlink() and identity in above):
                                    todo.append((entry.path, above | {identity}))
                        elif entry.is_file():
                            if accept(name):
                                yield Found(entry.path, entry.stat().st_size)
                        elif entry.is_symlink() and accept(name):  # that leads nowhere
                            yield Found(entry.path, 0)
                    except OSError as error:  # a link in a circle, a file deleted meanwhile
                        if error.errno not in NOT_THERE:
                            raise
                        if entry.is_symlink() and accept(name):
                            yield Found(entry.path, 0)

    def base(self, pattern: str) -> str:
        return self._split(pattern)[0]

    def glob(self, pattern: str) -> Iterator[Found]:
        base, rest = self._split(pattern)
        if "**" not in rest:
            shown = _is_hidden("/".join(rest))
            for path in glob.iglob(os.path.join(glob.escape(base), *rest)):
                found = self.find(path) or (Found(path, 0) if os.path.islink(path) else None)
                if found and (shown or not _is_hidden(path[len(base) :].replace(os.sep, "/"))):
                    yield found
            return
        # glob's own ** runs through links in circles: walk instead, and match what is below
        deep = rest.index("**")
        matches = re.compile(glob_translate("/".join(rest[deep:]))).match
        for top in glob.iglob(os.path.join(glob.escape(base), *rest[:deep], "")):
            top = top.rstrip(os.sep)
            for found in self.walk(top or os.sep, True, lambda name: True):
                if matches(found.path[len(top) + 1 :].replace(os.sep, "/")):
                    yield found

    def _split(self, pattern: str) -> tuple[str, list[str]]:
        """The folder before the first wildcard, and the parts from there on.

        A part that exists as it is written is no wildcard, whatever characters it has.
        """
        pattern = os.path.abspath(os.path.expanduser(pattern))
        drive, tail = os.path.splitdrive(pattern)
        base, parts = drive + os.sep, tail.strip(os.sep).split(os.sep)
        for index, part in enumerate(parts):
            step = os.path.join(base, part)
            if glob.has_magic(part) and not os.path.lexists(step):
                return base, parts[index:]
            base = step
        return "", []


class Remote:
    """Any fsspec filesystem.

    Parameters
    ----------
    urls : iterable of str
        The paths that :meth:`find` will be asked for: they are looked up together.
    source : Source
    """

    def __init__(self, urls: Iterable[str], source: Source) -> None:
        self._source = source
        urls = list(dict.fromkeys(urls))
        for scheme_url in {url.split("://", 1)[0]: url for url in urls}.values():
            source.filesystem(scheme_url)[0].invalidate_cache()  # what was listed before is old
        self._known = self._look_up(urls)

    def find(self, path: str) -> Found | None:
        return self._known[path]

    def walk(self, folder: str, recursive: bool, accept: Accept) -> Iterator[Found]:
        fs, name = self._source.filesystem(folder)
        name = name.rstrip("/")
        spell = _speller(folder, name, fs)
        for found, size in self._below(folder, None if recursive else 1):
            below = found[len(name) :].strip("/")
            if below and not _is_hidden(below) and accept(name_of(found)):
                # (an empty one may be what marks a folder)
                if size != 0 or not self._ask(functools.partial(fs.isdir, found), folder):
                    yield Found(spell(found), size)

    def base(self, pattern: str) -> str:
        head, chain, tail = pattern.partition("::")
        if chain and "://" not in head:  # simplecache::s3://bucket/*.jpg
            below = self.base(tail)
            return f"{head}::{below}" if below else ""
        first = _first_wildcard(head)
        return _folder_of(head[:first]) if first >= 0 else ""

    def _below(self, folder: str, depth: int | None) -> Iterator[tuple[str, int | None]]:
        """Files below a folder by their names in its filesystem; one may come twice, and what marks
        a folder as an empty file."""
        fs, name = self._source.filesystem(folder)
        try:
            yield from keys(folder, self._source, RETRIES, depth)
            return
        except UnlistableError:
            pass
        top = name.rstrip("/")
        infos = self._ask(lambda: fs.find(top, maxdepth=depth, detail=True), folder)
        for info in infos.values():
            if info["type"] != "directory":
                yield info["name"], info.get("size")

    def glob(self, pattern: str) -> Iterator[Found]:
        fs, name = self._source.filesystem(pattern)
        spell = _speller(pattern, name, fs)
        base = len(_folder_of(name[: _first_wildcard(name)]))
        shown = _is_hidden(name[base:])  # a pattern that names hidden things means them
        for found in self._matching(pattern, fs, name):
            if shown or not _is_hidden(found.path[base:]):
                yield found._replace(path=spell(found.path))

    def _matching(self, pattern: str, fs: Any, name: str) -> list[Found]:
        """What a pattern matches, by names in its filesystem; folders where it matches no file."""
        rest = name[len(_folder_of(name[: _first_wildcard(name)])) :]
        depth = None if "**" in rest else rest.count("/") + 1
        matches = re.compile(glob_translate(name)).match
        with contextlib.suppress(UnlistableError):
            listed = keys(self.base(pattern), self._source, RETRIES, depth)
            files = [Found(key, size) for key, size in listed if matches(key)]
            if files and all(file.size for file in files):  # an empty one may mark a folder
                return files
        infos = self._ask(lambda: fs.glob(name, detail=True), pattern).values()
        return [Found(i["name"], i.get("size"), i["type"] == "directory") for i in infos]

    def _look_up(self, urls: list[str]) -> dict[str, Found | None]:
        folders: dict[str, list[str]] = {}
        for url in urls:
            folders.setdefault(_folder_of(url), []).append(url)
        known: dict[str, Found | None] = {}
        for folder, members in folders.items():
            # a web server has no listing to rely on; a bucket's root may not be listed
            listable = "::" not in folder and not folder.startswith(WEB)
            if listable and len(members) >= LIST_FROM:
                known.update(self._list(folder, members))
        asked = [url for url in urls if url not in known]
        if len(asked) == 1:
            known[asked[0]] = self._info(asked[0])
        elif asked:
            with ThreadPoolExecutor(min(ASK_AT_ONCE, len(asked))) as pool:
                known.update(zip(asked, pool.map(self._info, asked), strict=True))
        return known

    def _list(self, folder: str, members: list[str]) -> dict[str, Found]:
        """Those members of a folder that its listing names."""
        fs, name = self._source.filesystem(folder)
        try:
            infos = self._ask(lambda: fs.ls(name, detail=True), folder)
        except FileNotFoundError:
            return {}
        by_name = {info["name"].rstrip("/").rpartition("/")[2]: info for info in infos}
        return {
            url: _as_found(url, by_name[url[len(folder) :]])
            for url in members
            if url[len(folder) :] in by_name
        }

    def _info(self, url: str) -> Found | None:
        fs, name = self._source.filesystem(url)
        if url.startswith(WEB) and url.endswith("/"):  # a page of links stands for a folder
            return Found(no_slash(url), None, True)
        try:
            return _as_found(url, self._ask(lambda: fs.info(name), url))
        except FileNotFoundError:
            return None

    def _ask(self, question: Callable[[], Any], url: str) -> Any:
        return retrying(question, url, RETRIES, self._source.mask)


def _as_found(url: str, info: dict[str, Any]) -> Found:
    folder = info["type"] == "directory"
    return Found(no_slash(url) if folder else url, info.get("size"), folder)


def as_url(path: str) -> str:
    """A path as filesystems take it: a scheme in small letters, no name of this machine.

    Examples
    --------
    >>> as_url("file://localhost/data/1.jpg"), as_url("S3://Bucket/1.jpg"), as_url("C:/1.jpg")
    ('file:///data/1.jpg', 's3://Bucket/1.jpg', 'C:/1.jpg')
    """
    if path[:1] == "/":
        return path
    return _SCHEME.sub(lambda found: (found[1] or found[2]).lower(), path)


def no_slash(url: str) -> str:
    """A URL without the slashes it ends in, but for those of a store's own root."""
    bare = url.rstrip("/")
    return f"{bare}//" if bare.endswith(":") else bare  # memory:// is a folder as well


def own_part(path: str) -> str:
    """The part of a path that names the file itself: no archive it lies in, no query.

    Examples
    --------
    >>> own_part("zip://cat/1.jpg::s3://bucket/pets.zip")
    'zip://cat/1.jpg'
    >>> own_part("https://host/cat/1.jpg?width=100")
    'https://host/cat/1.jpg'
    """
    if path[:1] == "/" or "://" not in path:
        return path
    head, chain, tail = path.partition("::")
    if chain and "://" not in head:
        return f"{head}::{own_part(tail)}"
    return head.partition("?")[0] if head.startswith(WEB) else head


def name_of(path: str) -> str:
    """The last part of a path: what a file is called in its folder."""
    return own_part(path).rpartition("/")[2]


def _first_wildcard(path: str) -> int:
    """Where the first wildcard is, or -1."""
    # "?" begins the query of a web address and is no wildcard there, nor is it to fsspec
    signs = "*[" if path.startswith(WEB) else "*?["
    return min((path.find(sign) for sign in signs if sign in path), default=-1)


def _folder_of(path: str) -> str:
    """A path up to and with its last slash."""
    return path[: path.rfind("/") + 1]


def _upwards(folder: str) -> Iterator[str]:
    yield folder
    while (parent := os.path.dirname(folder)) != folder:
        yield (folder := parent)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_hidden(below: str) -> bool:
    return any(part[:1] == "." or part in SKIPPED for part in below.split("/"))


def _speller(url: str, name: str, fs: Any) -> Callable[[str], str]:
    """How to write the names of a filesystem as the user wrote ``url``, whose name is ``name``.

    ``s3a://`` stays ``s3a://``, the host of ``sftp://host/`` and the archive of
    ``zip://a.jpg::s3://b/x.zip`` stay too: what is spelled is what the same options can open.
    """
    head, chain, tail = url.partition("::")
    if chain and "://" not in head:
        below = _speller(tail, name, fs)
        return lambda found: f"{head}::{below(found)}"
    head = head.rstrip("/") if name.strip("/") else head
    if name.strip("/") and head.endswith(name):
        prefix = head[: -len(name)]
    elif name.startswith(WEB):
        prefix = ""
    else:
        prefix = head.partition("://")[0] + "://"
    return lambda found: f"{prefix}{found}{chain}{tail}"
