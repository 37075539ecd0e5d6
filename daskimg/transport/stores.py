"""Which store a path is in: what tells the paths that data may name from those it may not.

A store is a protocol and a host or bucket (``s3://bucket``, ``https://host``, ``file://``). A
chain of fsspec (``zip://a.jpg::s3://bucket/x.zip``) is in the store that the rest of it names.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["Place", "is_here", "local_path", "parse", "store_of"]

HERE = ("file", "memory")
WEB = ("http", "https")
# one endpoint, which the options choose and no path: what they hold goes nowhere else
ONE_ENDPOINT = ("s3", "gs", "oss", "hf", "memory")
# what opens a path and nothing besides: no archive, cache, reference file, repository, notebook
PLAIN = (*WEB, *ONE_ENDPOINT, "file", "abfs", "adl", "ftp", "hdfs", "sftp", "webhdfs")
SAME = {
    "abfss": "abfs",
    "az": "abfs",
    "gcs": "gs",
    "local": "file",
    "s3a": "s3",
    "ssh": "sftp",
}
BY_HOST = (*WEB, "ftp", "hdfs", "sftp", "webhdfs")
NO_HOST = ("hf", "memory")
PORTS = {"http": 80, "https": 443}


def local_path(path: str) -> str | None:
    """The operating system's path of a local file, or None for a path on another filesystem.

    Examples
    --------
    >>> local_path("file:///data/1.jpg"), local_path("data/1.jpg"), local_path("s3://b/1.jpg")
    ('/data/1.jpg', 'data/1.jpg', None)
    >>> local_path("file:/data/1.jpg")
    '/data/1.jpg'
    """
    path = os.fspath(path)
    if path[:1] == "/":
        return path
    if path.startswith("file:/") and path[6:7] != "/":  # as Hadoop and Java write it
        return path[5:]
    for prefix in ("file://", "local://"):
        if path.startswith(prefix):
            return path[len(prefix) :]
    return None if "://" in path or "::" in path else path


def is_here(path: str) -> bool:
    """Whether a path leads to a file of this machine, or of this process.

    Examples
    --------
    >>> is_here("data/1.jpg"), is_here("memory://1.jpg"), is_here("s3://b/1.jpg")
    (True, True, False)
    """
    place = parse(path)
    return place.inner is None and place.protocol in HERE


class Place(NamedTuple):
    """Where a path leads: the parts of it that are compared."""

    protocol: str
    host: str  # or bucket; "": of any
    path: str = ""  # below it; "": all of it
    inner: str | None = None  # the rest of a chain

    @property
    def plain(self) -> bool:
        """Whether opening it opens that file, and nothing that the file names."""
        return self.inner is None and self.protocol in PLAIN

    @property
    def fixed_endpoint(self) -> bool:
        """Whether the host that answers is chosen by options, never by the path."""
        if self.inner is not None:
            return False
        account = self.protocol == "abfs" and "@" not in self.host  # it is in the options
        return account or self.protocol in ONE_ENDPOINT

    def __str__(self) -> str:
        slash = "/" if self.path and not self.path.startswith("/") and self.host else ""
        own = f"{self.protocol}://{self.host}{slash}{self.path}"
        return own if self.inner is None else f"{own}::{self.inner}"

    def holds(self, other: Place) -> bool:
        """Whether another place lies in this one."""
        if other.protocol != self.protocol or (self.host and other.host != self.host):
            return False
        climbs = ".." in unquote(other.path).replace("\\", "/").split("/")
        if climbs and (self.path or self.protocol != "file"):
            return False
        top = self.path.rstrip("/")
        if self.path and other.path != top and not other.path.startswith(f"{top}/"):
            return False
        if self.inner is None or other.inner is None:
            return self.inner is other.inner
        return self.inner == other.inner or parse(self.inner).holds(parse(other.inner))


def parse(path: str) -> Place:
    """The place that a path, URL or chain leads to.

    Examples
    --------
    >>> parse("https://Bob:pw@Host:443/a.jpg?w=7")
    Place(protocol='https', host='host', path='/a.jpg', inner=None)
    >>> cats = parse("s3a://bucket/cats")
    >>> cats.holds(parse("s3://bucket/cats/1.jpg")), cats.holds(parse("s3://bucket/cats2/1.jpg"))
    (True, False)
    >>> parse("zip://a.jpg::s3://bucket/x.zip").inner
    's3://bucket/x.zip'
    """
    local = local_path(path)
    if local is not None:
        # a folder in allow-paths may be written relative; "" stands for all files
        return Place("file", "", os.path.join(os.getcwd(), local) if local else "")
    head, chain, rest = path.partition("::")
    protocol, sign, below = head.partition("://")
    protocol = SAME.get(protocol, protocol)
    inner = rest if chain else None
    if not sign:
        return Place(protocol, "", "", inner)
    if protocol in NO_HOST or inner is not None:  # what lies in an archive
        return Place(protocol, "", f"/{below.lstrip('/')}" if below else "", inner)
    if protocol in BY_HOST:
        return _of_web(head, protocol)
    host, slash, key = below.partition("/")
    user, _, bare = host.rpartition("@")
    return Place(protocol, bare if ":" in user else host, slash + key)


def store_of(path: str) -> Place:
    """The store alone, of a path or pattern that somebody wrote in code.

    Examples
    --------
    >>> print(store_of("s3://bucket/*.jpg"), store_of("simplecache::https://host/pets"))
    s3://bucket simplecache://::https://host
    >>> print(store_of("zip://*.jpg::s3://bucket/x.zip"))
    zip://::s3://bucket/x.zip
    """
    place = parse(path)
    if place.inner is not None and "://" not in path.partition("::")[0]:  # a cache of a path
        return place._replace(inner=str(store_of(place.inner)))
    host = "" if any(sign in place.host for sign in "*?[") else place.host
    return place._replace(host=host, path="")


def _of_web(url: str, protocol: str) -> Place:
    """A URL as its client reads it; one that clients may read in several ways is nowhere."""
    authority = re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port = "?", None
    if re.search(r"[\\\s\x00-\x20*?]", authority + host):
        return Place(f"an unclear {protocol}", "", url)
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != PORTS.get(protocol):
        shown += f":{port}"
    return Place(protocol, shown, "" if parts.path in ("", "/") else parts.path)
