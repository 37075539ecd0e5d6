"""What is needed to open paths: options of a filesystem, which never show, and which paths.

What stands in code is the caller's: `Source.filesystem` opens any of it. A cell of a column is
data, a file's or a stranger's, and `Source.for_cell` says whether, and with what, it is opened.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import pickle
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from daskimg.secrets import SECRET_NAME, mask_url
from daskimg.transport.stores import HERE, WEB, Place, local_path, parse, store_of

__all__ = ["Source", "common", "recall"]

CONNECTIONS = 256  # that an S3 client may have: the setting is for the process, and lower
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
    handle : str, optional
        The name that a dtype keeps of it; none is secret.
    stores : iterable of str, optional
        Paths of the stores that the options were given for: cells of a column are opened there
        and in no other. None: the caller named none, and cells may be in any plain store.
    allowed : iterable of str
        Stores, or folders of these, that ``daskimg.allow-paths`` adds.
    for_paths : bool
        Whether the options were given for what the cells name, wherever that is, and not for
        `stores`: then they serve what is allowed too.

    Examples
    --------
    >>> Source({"key": "AKIA...", "secret": "s3cr3t"})
    Source(storage_options={'key': '***', 'secret': '***'})
    >>> Source({"anon": True}) == Source({"anon": True})
    True
    >>> Source.default
    Source()
    """

    __slots__ = ("_allowed", "_digest", "_for_paths", "_options", "_stores", "handle")
    _allowed: tuple[str, ...]
    _digest: str
    _for_paths: bool
    _options: dict[str, Any]
    _stores: tuple[str, ...] | None
    handle: str | None
    default: ClassVar[Source]

    def __init__(
        self,
        storage_options: Mapping[str, Any] | None = None,
        handle: str | None = None,
        *,
        stores: Iterable[str] | None = None,
        allowed: Iterable[str] = (),
        for_paths: bool = False,
    ) -> None:
        if storage_options is not None and not isinstance(storage_options, Mapping):
            raise TypeError(
                "storage_options: expected a dict of filesystem options, got "
                f"{type(storage_options).__name__}"
            )
        options = _copied(dict(storage_options or {}))
        where = None if stores is None else tuple(sorted({str(store_of(s)) for s in stores}))
        held: tuple[Any, ...] = (options, where, tuple(allowed), for_paths)
        text = repr(_canonical(options if held[1:] == (None, (), False) else held)).encode()
        digest = hashlib.blake2b(
            text, digest_size=16, key=b"daskimg.transport.fetch.Source"
        ).hexdigest()
        object.__setattr__(self, "_options", options)
        object.__setattr__(self, "_stores", where)
        object.__setattr__(self, "_allowed", held[2])
        object.__setattr__(self, "_for_paths", for_paths)
        object.__setattr__(self, "_digest", digest)
        if options or where is not None:
            handle = handle or _handles.get(digest) or _named(options, where)
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
            fs, name = url_to_fs(path, **_kept_home(path, self._options))
            return fs, str(name)
        # botocore and s3fs each try five times by themselves: times ours, a hundred
        given = self._options.get("config_kwargs") or {}
        own = {"retries": {"max_attempts": 0}, "max_pool_connections": CONNECTIONS, **_session()}
        once = {"config_kwargs": {**own, **given}}
        fs, name = url_to_fs(path, **{**self._options, **once})
        fs.retries = 1
        return fs, str(name)

    def within(self, stores: Iterable[str]) -> Source:
        """The same options, for the stores of these paths alone.

        What is in this process's memory was put there by it, and may name local files.
        """
        stores = {str(store_of(path)) for path in stores}
        if "memory://" in stores:
            stores.add("file://")
        return Source(self._options, stores=stores, allowed=self._allowed)

    def allowing(self, paths: Iterable[str]) -> Source:
        """The same, and cells may be in these places too."""
        held: dict[str, Any] = {"stores": self._stores, "for_paths": self._for_paths}
        return Source(self._options, self.handle, allowed=paths, **held)

    def kept_to(self, other: Source | None) -> Source:
        """The same options, where `other` opens cells; where this one does, if it is kept already.

        Examples
        --------
        >>> data = Source(stores=["s3://tables/t.parquet"])
        >>> Source({"anon": True}).kept_to(data).for_cell("s3://tables/1.png").options
        {'anon': True}
        """
        if other is None or other._stores is None or self._stores is not None:
            return self
        if not self._options:
            return other.allowing(self._allowed or other._allowed)
        held: dict[str, Any] = {"allowed": self._allowed or other._allowed, "for_paths": True}
        return Source(self._options, stores=other._stores, **held)

    @property
    def is_here(self) -> bool:
        """Whether all that it opens is on this machine, or in this process."""
        stores = None if self._stores is None else _places((*self._stores, *self._allowed))
        return stores is not None and all(store.protocol in HERE for store in stores)

    def for_cell(self, path: str) -> Source:
        """With what a path that a cell holds is opened.

        A path is opened in the stores of this source, and in those that ``daskimg.allow-paths``
        names; where no store is known, in any plain one (no chain, nothing that a file names).
        The options go to the stores they were given for, and to what the same endpoint serves.

        Raises
        ------
        PermissionError
            For a path that is in none of them; the text says what to do.
        """
        if (self._stores is None or "file://" in self._stores) and local_path(path) is not None:
            return self
        place = parse(path)
        if any(store.holds(place) for store in _places(self._stores or ())):
            return self
        named = any(allowed.holds(place) for allowed in _places(self._allowed))
        if not named and (self._stores is not None or not place.plain):
            raise _refused(place, path, self._stores)
        if not self._options or place.protocol == "file":
            return self
        if self._for_paths and named:
            return self
        if self._stores is None or all(s.protocol in HERE for s in _places(self._stores)):
            # given for the paths: to a host that only a cell names they do not go
            if named or place.fixed_endpoint:
                return self
            raise _withheld(place, path)
        same = place.fixed_endpoint and any(
            store.protocol == place.protocol for store in _places(self._stores)
        )
        return self if same else Source.default

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

    def __reduce__(self) -> tuple[Any, ...]:
        held: dict[str, Any] = {
            "stores": self._stores,
            "allowed": self._allowed,
            "for_paths": self._for_paths,
        }
        return functools.partial(Source, **held), (self._options, self.handle)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "daskimg.transport.fetch.Source", self._digest


def recall(handle: str | None) -> Source | None:
    """The source of a handle; of one that this process has not met, the stores it names.

    Examples
    --------
    >>> recall(Source({"anon": True}).handle)
    Source(storage_options={'anon': '***'})
    >>> recall(None) is None
    True
    """
    if handle is None or handle in _known:
        return None if handle is None else _known[handle]
    _, found, listed = handle.partition("[")
    try:
        stores = json.loads(found + listed) if found else None
    except ValueError:
        stores = ()
    if stores is None:
        return None
    # it may come from a file: it grants nothing that a path alone would not
    return Source(stores=[store for store in stores if parse(str(store)).plain])


def common(handles: Iterable[str | None]) -> str | None:
    """The handle for cells of several columns: options only where all have the same."""
    each = list(dict.fromkeys(handles))
    if len(each) == 1:
        return each[0]
    sources = [recall(handle) or Source.default for handle in each]
    options = [source.options for source in sources]
    kept = options[0] if all(one == options[0] for one in options) else None
    stores = [source._stores for source in sources]
    where = None if None in stores else [store for some in stores for store in some or ()]
    return Source(kept, stores=where).handle


def _named(options: Mapping[str, Any], stores: tuple[str, ...] | None) -> str:
    """A new handle: what it stands for can be told from it where no secret is in that."""
    plain = [store for store in stores or () if parse(store).plain]
    secret = options or len(plain) < len(stores or ())
    listed = "" if stores is None else json.dumps(plain)
    return (uuid.uuid4().hex if secret else "") + listed


@functools.lru_cache(256)
def _places(paths: tuple[str, ...]) -> tuple[Place, ...]:
    return tuple(parse(path) for path in paths)


def _refused(place: Place, path: str, stores: tuple[str, ...] | None) -> PermissionError:
    own = mask_url(", ".join(stores or ()))
    store = mask_url(str(store_of(str(place))))
    said = f"data names a path outside its store ({own or 'it has none'})"
    if stores is None:
        said = f"data names a path of {place.protocol}, which is never opened for data"
    allow = f"; if you trust it, list {store!r} in daskimg.allow-paths"
    if place.inner is not None:
        said = "data names a chain of filesystems (::), which is never opened for data"
    return PermissionError(errno.EACCES, said + allow, mask_url(path))


def _withheld(place: Place, path: str) -> PermissionError:
    store = str(store_of(str(place)))
    said = (
        f"storage_options go to no host that only data names; if they are for {store}, list "
        f"{store!r} in daskimg.allow-paths"
    )
    return PermissionError(errno.EACCES, said, mask_url(path))


def _kept_home(path: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options of a web server that do not follow its redirects to another one."""
    own = path.rpartition("::")[2]
    protocol = own.partition("://")[0]
    given = options if own == path else options.get(protocol)
    if protocol not in WEB or not given:
        return options
    kept = {"get_client": functools.partial(_client, str(store_of(own))), **given}
    return kept if own == path else {**options, protocol: kept}


def _session() -> dict[str, Any]:
    try:
        from daskimg.transport.s3_session import KEPT
    except ImportError:  # without s3fs there is nothing to tell, and fsspec says what is missing
        return {}
    return KEPT


#: Headers that say nothing of who asks.
OPEN_HEADERS = frozenset(
    ("host", "accept", "accept-encoding", "connection", "content-length", "range", "user-agent")
)


async def _client(home: str, **kwargs: Any) -> Any:
    """An aiohttp session whose headers, cookies and log-in go to one server only."""
    import aiohttp

    async def told(request: Any, send: Any) -> Any:
        if str(store_of(str(request.url))) != home:
            for name in [name for name in request.headers if name.lower() not in OPEN_HEADERS]:
                request.headers.popall(name, None)
        return await send(request)

    asked = (*kwargs.pop("middlewares", ()), told)  # the last is asked once for each request
    return aiohttp.ClientSession(middlewares=asked, **kwargs)


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
