"""A folder that a writer fills, on any filesystem."""

from __future__ import annotations

import errno
import inspect
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from typing import Any

from daskimg import config
from daskimg.errors import quoted
from daskimg.io.commit.names import FileNameError
from daskimg.io.listing.walk import as_url, no_slash
from daskimg.secrets import mask_url
from daskimg.transport import fetch

__all__ = ["Target", "path_of"]

AT_ONCE = 16  # files that are removed from a store
FEW = 256  # files that are waited for one by one
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
TRIES = 3  # of a file whose folder goes while it is written
RENAMING = {"sftp", "ssh", "smb", "hdfs", "webhdfs", "ftp"}  # filesystems that are not local


def path_of(given: Any) -> str:
    """Where to write, as text.

    Raises
    ------
    TypeError, ValueError
        For what is no path.
    """
    path = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(path, str):
        raise TypeError(f"expected a path to write to (str or os.PathLike); got {quoted(given)}")
    if not path:
        raise ValueError("expected a path to write to; an empty string is none, '.' is this folder")
    return path


class Target:
    """A folder on a filesystem or an object store.

    Parameters
    ----------
    url : str or os.PathLike
    storage_options : mapping or Source, optional
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | fetch.Source | None = None,
    ) -> None:
        given = as_url(path_of(url))
        local = fetch.local_path(given)
        self.url = no_slash(given) if local is None else os.path.abspath(os.path.expanduser(local))
        options = storage_options
        self.source = options if isinstance(options, fetch.Source) else fetch.Source(options)

    def __reduce__(self) -> tuple[Any, ...]:
        return Target, (self.url, self.source)

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return ("daskimg.Target", self.url, self.source.__dask_tokenize__())

    def __repr__(self) -> str:
        return f"Target({self.shown!r})"

    @property
    def shown(self) -> str:
        """The URL without credentials."""
        return mask_url(self.url)

    @property
    def local(self) -> bool:
        """Whether files are the operating system's."""
        return fetch.local_path(self.url) is not None

    @property
    def renames(self) -> bool:
        """Whether a file is written under a temporary name, then renamed; else it is one PUT."""
        return self.local or bool(RENAMING & {*_protocols(self.fs)})

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        fs, root = self.source.filesystem(self.url)
        return fs, root.rstrip("/")

    @property
    def fs(self) -> Any:
        """The fsspec filesystem."""
        return self._opened[0]

    def at(self, name: str) -> str:
        """The path of a file, as the filesystem knows it."""
        return f"{self._opened[1]}/{name}"

    def href(self, name: str) -> str:
        """The path of a file, as a reader takes it."""
        return f"{self.url.removesuffix('/')}/{name}"

    # -- looking --------------------------------------------------------------------------
    def files(self, below: str = "") -> dict[str, int]:
        """Every file in a folder (its name from the target on), with its size."""
        folder = self.at(below).rstrip("/")
        if self._kind(folder, below) != "directory":
            return {}
        found = self._try(lambda: self.fs.find(folder, detail=True), below)
        root = self._opened[1].lstrip("/")
        return {
            path.lstrip("/").removeprefix(root).lstrip("/"): int(info["size"] or 0)
            for path, info in sorted(found.items())
            if path.rstrip("/") != folder
        }

    def is_file(self) -> bool:
        """Whether the URL is that of a file."""
        return self._kind(self._opened[1], "") == "file"

    def is_empty(self) -> bool:
        """Whether there is nothing in the folder, or no folder."""
        folder = self._opened[1]
        if self._kind(folder, "") != "directory":
            return True
        found = self._try(lambda: self.fs.ls(folder, detail=False), "")
        return not [path for path in found if path.strip("/") != folder.strip("/")]

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._kind(self.at(name), name) is not None

    def _kind(self, path: str, name: str) -> str | None:
        """What is at a path: "file", "directory", or None for nothing.

        fsspec's own ``isdir``, ``isfile`` and ``exists`` take a failed request for a No.
        """
        self.fs.invalidate_cache()  # others write here
        try:
            return str(self._try(lambda: self.fs.info(path), name)["type"])
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return fetch.read_bytes(self.href(name), self.source, retries=config.retries())

    # -- changing -------------------------------------------------------------------------
    def put(self, name: str, data: Any, settled: bool = False) -> None:
        """Write a file: it is there in full or not at all; `settled`: a power cut leaves it so."""
        if not self.renames:
            self._try(lambda: self.fs.pipe_file(self.at(name), bytes(data)), name)
            return
        for left in reversed(range(TRIES)):
            try:
                self._put_and_rename(self.at(name), data, settled)
                return
            # another writer of the same was done, and cleaned up: the folder went before the file
            # was in it, or between being there and being looked at
            except (FileNotFoundError, FileExistsError):
                if not left:
                    raise
            except OSError as error:
                if error.errno and error.filename is None:
                    error.filename = mask_url(self.href(name))  # a full disk does not say
                raise

    def upload(self, path: str, name: str) -> None:
        """Write a file of this machine's disk, on another."""
        self._try(lambda: self.fs.put_file(path, self.at(name)), name)

    def create(self, name: str, data: Any) -> bool:
        """Write a file that is not there yet; False where it is."""
        if self.local:
            return not os.path.exists(self.at(name)) and self._link(self.at(name), data)
        if not self.creates:
            if self.has(name):
                return False
            self.put(name, data)
            return True
        try:
            self.fs.pipe_file(self.at(name), bytes(data), mode="create")
        except Exception:  # each store has its own words for "it is there"
            if self.has(name):
                return False
            self.put(name, data)  # it knows no such condition, or could not be reached
        return True

    @property
    def creates(self) -> bool:
        """Whether of two who create a file at once one is told."""
        how = inspect.signature(getattr(self.fs, "_pipe_file", self.fs.pipe_file))
        return self.local or (not self.renames and "mode" in how.parameters)

    def _link(self, final: str, data: Any) -> bool:
        folder, temporary = _beside(final)
        os.makedirs(folder, exist_ok=True)
        try:
            with open(temporary, "wb") as file:
                file.write(data)
            os.link(temporary, final)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.rename(temporary, final)  # a disk without links
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        return True

    def _put_and_rename(self, final: str, data: Any, settled: bool) -> None:
        folder, temporary = _beside(final)
        self._try(lambda: self.fs.makedirs(folder, exist_ok=True), "")
        try:
            with self.fs.open(temporary, "wb") as file:
                file.write(data)
                if settled and self.local:
                    file.flush()
                    os.fsync(file.fileno())
            self._replace(temporary, final)
            if settled:
                self.settle([], [folder])
        except BaseException:
            if self.fs.exists(temporary):
                self.fs.rm_file(temporary)
            raise

    def move(self, old: str, new: str) -> None:
        """Rename a file, over one that has the name."""
        final = self.at(new)
        folder = final.rpartition("/")[0]
        self._try(lambda: self.fs.makedirs(folder, exist_ok=True), new)
        self._refuse_links(new)
        self._replace(self.at(old), final)

    def settle(self, names: Sequence[str], folders: Iterable[str] = ()) -> None:
        """Have files on the disk, so that a power cut leaves them whole and where they are."""
        if not self.local or os.name == "nt":
            return
        if len(names) > FEW:  # each would wait for the disk
            os.sync()
            return
        paths = [self.at(name) for name in names]
        for path in (*paths, *{path.rpartition("/")[0] for path in paths}, *folders):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _refuse_links(self, name: str) -> None:
        """Stop at a link in the target that leads out of it."""
        if not self.local:
            return
        root, folder = os.path.realpath(self._opened[1]), self.at(name).rpartition("/")[0]
        if os.path.commonpath([os.path.realpath(folder), root]) != root:
            raise FileNameError(
                f"unsafe file name {quoted(name)}: its folder is a link that leaves {self.shown}"
            )

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are none of our business."""
        if self.renames:
            for name in names:
                self._remove(name)
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._remove, names))

    def _remove(self, name: str) -> None:
        self._refuse_links(name)
        with suppress(FileNotFoundError):
            self._try(lambda: self.fs.rm_file(self.at(name)), name)

    def prune(self, below: str = "") -> None:
        """Remove empty folders, on a disk."""
        top = self.at(below).rstrip("/")
        if not self.local:
            return
        for folder, _, _ in os.walk(top, topdown=False):
            if folder != self._opened[1]:
                try:
                    os.rmdir(folder)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                        raise

    def _replace(self, old: str, new: str) -> None:
        if self.local:
            os.replace(old, new)
        else:
            self.fs.mv(old, new)

    def _try(self, action: Any, name: str) -> Any:
        return fetch.retrying(action, self.href(name), config.retries(), self.source.mask)


def _beside(final: str) -> tuple[str, str]:
    """The folder of a file, and a name in it until the file is whole."""
    folder, _, last = final.rpartition("/")
    return folder, f"{folder}/.{last[:40]}.{uuid.uuid4().hex}.tmp"


def _protocols(fs: Any) -> tuple[str, ...]:
    protocol = fs.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
