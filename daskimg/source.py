"""What is needed to open paths: options of a filesystem, which never show."""

from __future__ import annotations

import hashlib
import pickle
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NoReturn

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from daskimg.retry import SECRET_NAME, mask_url

__all__ = ["Source", "recall"]

_known: dict[str, Source] = {}  # by handle
_handles: dict[str, str] = {}  # of a digest


class Source:
    """What is needed to open paths: ``storage_options``, held so that secrets never show.

    Frozen and hashable, equal by content. Its ``repr`` masks every value and its Dask token is
    a digest; only a pickle (which a worker needs) holds the options.

    Parameters
    ----------
    storage_options : mapping, optional
        Options of the fsspec filesystem, as in ``dask.dataframe.read_parquet``. They have to be
        picklable.

    Examples
    --------
    >>> Source({"key": "AKIA...", "secret": "s3cr3t"})
    Source(storage_options={'key': '***', 'secret': '***'})
    >>> Source({"anon": True}) == Source({"anon": True})
    True
    >>> Source.default
    Source()
    """

    __slots__ = ("_digest", "_options", "handle")
    _digest: str
    handle: str | None
    _options: dict[str, Any]
    default: ClassVar[Source]

    def __init__(
        self, storage_options: Mapping[str, Any] | None = None, handle: str | None = None
    ) -> None:
        if storage_options is not None and not isinstance(storage_options, Mapping):
            raise TypeError(
                "storage_options: expected a dict of filesystem options, got "
                f"{type(storage_options).__name__}"
            )
        options = _copied(dict(storage_options or {}))
        text = repr(_canonical(options)).encode()
        digest = hashlib.blake2b(text, digest_size=16, key=b"daskimg.fetch.Source").hexdigest()
        object.__setattr__(self, "_options", options)
        object.__setattr__(self, "_digest", digest)
        if options:
            handle = handle or _handles.get(digest) or uuid.uuid4().hex
            _known.setdefault(handle, self)
            handle = _handles.setdefault(digest, handle)
        object.__setattr__(self, "handle", handle)

    @property
    def options(self) -> dict[str, Any]:
        """A copy of the options, secrets included."""
        return dict(_copied(self._options))

    def filesystem(self, path: str) -> tuple[AbstractFileSystem, str]:
        """The fsspec filesystem of a path, from fsspec's instance cache, and the path on it."""
        if not path.startswith(("s3://", "s3a://")):
            fs, name = url_to_fs(path, **self._options)
            return fs, str(name)
        # botocore and s3fs each try five times by themselves: times ours, a hundred
        given = self._options.get("config_kwargs") or {}
        once = {"config_kwargs": {"retries": {"max_attempts": 0}, **given}}
        fs, name = url_to_fs(path, **{**self._options, **once})
        fs.retries = 1
        return fs, str(name)

    def mask(self, text: str) -> str:
        """A text without the credentials of URLs in it and without this source's secrets."""
        for secret in _secrets(self._options):
            text = text.replace(secret, "***")
        return mask_url(text)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Source is frozen: make a new one to change {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._digest == other._digest if isinstance(other, Source) else NotImplemented

    def __hash__(self) -> int:
        return hash((Source, self._digest))

    def __repr__(self) -> str:
        shown = {key: "***" for key in self._options}
        return f"Source(storage_options={shown})" if shown else "Source()"

    def __reduce__(self) -> tuple[type[Source], tuple[dict[str, Any], str | None]]:
        return Source, (self._options, self.handle)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "daskimg.fetch.Source", self._digest


def recall(handle: str | None) -> Source | None:
    """The source of a handle, where this process has met it; None for None and for strangers.

    Examples
    --------
    >>> recall(Source({"anon": True}).handle)
    Source(storage_options={'anon': '***'})
    """
    return None if handle is None else _known.get(handle)


def _copied(value: Any) -> Any:
    """Containers copied, so that a caller who edits his dict does not edit the source."""
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if type(value) is list else value


def _canonical(value: Any) -> Any:
    """A structure whose repr is equal for equal options, in every process."""
    if isinstance(value, Mapping):
        return "dict", sorted((repr(key), _canonical(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, [_canonical(item) for item in value]
    if isinstance(value, set | frozenset):
        return "set", sorted(repr(_canonical(item)) for item in value)
    if value is None or isinstance(value, str | bytes | int | float):
        return type(value).__name__, repr(value)
    try:
        return "pickle", pickle.dumps(value, protocol=4)
    except Exception as error:
        raise TypeError(
            "storage_options have to be picklable to reach workers; "
            f"a {type(value).__name__} is not ({type(error).__name__})"
        ) from None


def _secrets(options: Mapping[str, Any]) -> Iterator[str]:
    """The values of options whose name speaks of a secret."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _secrets(value)
        elif isinstance(value, str) and len(value) > 3 and SECRET_NAME.fullmatch(str(key)):
            yield value


Source.default = Source()
