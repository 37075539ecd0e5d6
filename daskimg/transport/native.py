"""Object stores asked by obstore: a request costs a fifth of what it costs in Python.

Only what means the same to both is asked so; the rest is fsspec's: options without a translation,
keys that obstore reads as other keys, a process that was forked (the threads of obstore stay with
its parent, and a child would wait for ever). Its answers become the errors that fsspec's are; its
own retries are off, or they would multiply ours.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from typing import Any

__all__ = ["Store", "StoreError", "place_of", "store_of"]

ALL = 2**40  # an end beyond that of any file
LONGEST = "300s"  # of a request
WAITS = "60s"  # for a connection, and for the next bytes
PLACE = re.compile(r"(s3a?://[a-z0-9][a-z0-9.-]*)/")
# in a key: empty and dotted segments, ends, versions, what is no text
ODD = re.compile(r"(^|/)\.{0,2}(/|$)|\?versionId=|[\x00-\x1f\x7f\\]")
# that mean nothing to reading one file
IDLE = {"use_listings_cache", "listings_expiry_time", "max_paths", "skip_instance_cache"}
IDLE |= {"default_block_size", "default_fill_cache", "default_cache_type", "use_ssl"}
NAMES = {"key": "key", "username": "key", "secret": "secret", "password": "secret"}
NAMES |= {"token": "token", "endpoint_url": "endpoint", "anon": "anon"}
NAMES |= {"requester_pays": "pays", "region_name": "region"}
#: What obstore would take from the environment, and botocore not, or otherwise.
AROUND = ("AWS_S3_EXPRESS", "AWS_SERVER_SIDE_ENCRYPTION", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST")
ENDPOINTS = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")

_forks = 0


class StoreError(OSError):
    """An answer of a store that is no file."""

    status: int | None = None


class Store:
    """A bucket, as obstore asks it."""

    def __init__(self, place: str, store: Any) -> None:
        self.bucket = place.partition("://")[2] + "/"
        self.store = store
        self.able = True

    def key(self, name: str) -> str | None:
        """The key of a file; None where obstore would read it as another, or cannot ask for it."""
        key = name.removeprefix(self.bucket)
        return key if self.able and key != name and not ODD.search(key) else None

    def folder(self, name: str) -> str | None:
        """The prefix of a folder; None where obstore cannot list it."""
        return "" if self.able and f"{name}/" == self.bucket else self.key(name)

    async def page(self, prefix: str, after: str | None, most: int) -> list[tuple[str, int]] | None:
        """Keys below a prefix and their sizes; None where this store is not to be asked so.

        What marks a folder comes as an empty key without its last slash.
        """
        try:
            async for found in self.store.list(prefix or None, offset=after, chunk_size=most):
                return [(each["path"], each["size"]) for each in found]
            return []
        except Exception as error:
            failed = _told(error)
        if failed is not None:
            raise failed from None
        return None

    async def read(self, key: str, start: int | None, end: int | None) -> bytes | None:
        """The bytes of a file or of a range; None where this store is not to be asked so."""
        try:
            found = await self.store.get_range_async(
                key, start=start or 0, end=ALL if end is None else end
            )
            data: bytes = found.to_bytes()
            return data
        except Exception as error:
            failed = _told(error)
        # outside the handler: its context holds the URL and all that the store said
        if failed is None:
            self.able = False
        elif getattr(failed, "status", None) == 416 and not start:
            return b""  # no byte of an empty file is in any range
        else:
            raise failed from None
        return None


def place_of(path: str) -> str | None:
    """The bucket of a path, where it is in one that obstore may be asked for."""
    found = PLACE.match(path)
    return None if found is None else found[1]


def store_of(place: str, options: Mapping[str, Any]) -> Store | None:
    """A bucket with the options of fsspec; None where obstore is not there, or not the same."""
    given = _translated(options)
    if given is None or _forks:
        return None
    try:
        from obstore.store import S3Store
    except ImportError:
        return None
    bucket = place.partition("://")[2]
    key, secret, token = (given.pop(name, None) for name in ("key", "secret", "token"))
    endpoint = given.get("endpoint")
    if given.pop("anon", False):
        given["skip_signature"] = True
    elif key and secret and not (token and endpoint):
        # (not as options: a token in the environment would go with them)
        async def credentials() -> dict[str, Any]:
            return {
                "access_key_id": key,
                "secret_access_key": secret,
                "token": token,
                "expires_at": None,
            }

        given["credential_provider"] = credentials
        given["skip_signature"] = False
    else:
        # A token would follow a redirect to another host. Without keys botocore knows where to
        # look for them.
        return None
    if endpoint is None and any(os.environ.get(name) for name in ENDPOINTS):
        return None
    if any(os.environ.get(name) for name in AROUND):
        return None
    client: Any = {"timeout": LONGEST, "connect_timeout": WAITS, "read_timeout": WAITS}
    if endpoint is not None:
        client["allow_http"] = str(endpoint).startswith("http://")
    if given.pop("pays", False):
        given["request_payer"] = True
    store = S3Store(bucket, client_options=client, retry_config={"max_retries": 0}, **given)
    return Store(place, store)


def _translated(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Options under names that are the same for all spellings; None where one has no meaning."""
    found: dict[str, Any] = {}
    flat = {**options}
    for name in ("client_kwargs", "config_kwargs"):
        inner = flat.pop(name, None) or {}
        if not isinstance(inner, Mapping) or (inner and name == "config_kwargs"):
            return None
        flat |= inner
    for name, value in flat.items():
        if name in IDLE or value is None:
            continue
        if name not in NAMES:
            return None
        found[NAMES[name]] = value
    return found


def _told(error: Exception) -> StoreError | TimeoutError | ConnectionError | None:
    """What became of a request, in our words; None where obstore is not up to it."""
    text = str(error)
    own, _, source = text.partition("\n\nDebug source:")
    status = re.search(r"status code: (\d{3}) ?([\w ]*)", own)
    if status is not None:
        return _answered(int(status[1]), status[2].strip(), own[status.end() :])
    kind = re.search(r"kind: (Timeout|Interrupted|Connect|Request|Body|Decode|Unknown)\b", source)
    if kind is None:
        return None
    detail = re.search(r'(?:message: |error", |ConnectError\(\s*)"([^"]{1,200})"', source)
    said = own.rpartition("HTTP error: ")[2].strip() or "no answer"
    said = f"{said}: {detail[1]}" if detail else said
    if re.search(r"certificate|\bTLS\b|tls handshake", source):
        return StoreError(errno.EIO, f"no secure connection: {said}")
    if kind[1] == "Timeout":
        return TimeoutError(errno.ETIMEDOUT, "no answer in time")
    return ConnectionResetError(errno.ECONNRESET, said)


def _answered(status: int, phrase: str, body: str) -> StoreError:
    message = re.search(r"<Message>([^<]{1,200})", body)
    code = re.search(r"<Code>([^<]{1,80})", body)
    said = ": ".join(found[1] for found in (code, message) if found)
    text = f"{status} {phrase}" + (f": {said}" if said else "")
    number = {404: errno.ENOENT, 410: errno.ENOENT, 401: errno.EACCES, 403: errno.EACCES}
    failed = StoreError(number.get(status, errno.EIO), text)
    failed.status = status
    return failed


def _forked() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
