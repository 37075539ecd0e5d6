"""Credentials in URLs and in names of options: what may not be shown."""

from __future__ import annotations

import re

__all__ = ["SECRET_NAME", "mask_url"]

_WORDS = "sig|token|secret|password|passwd|pwd|credential|auth|key|policy|session|jwt|sas"
SECRET_NAME = re.compile(rf"[\w.-]*(?:{_WORDS})[\w.-]*", re.IGNORECASE)
# Each in one go over the text, whatever stands in it: data may be of any length.
_QUERY = re.compile(rf"([?&;#](?=[\w.-]*?(?:{_WORDS}))[\w.-]++)=[^&;#\s'\"]*", re.IGNORECASE)
# abfs://container@account and sftp://user@host name a place, not a secret
_USERINFO = re.compile(
    r"(?:(?<=http://)|(?<=https://)|(?<=://)[^/?#\s'\":]*:)[^/?#\s'\"]*@", re.IGNORECASE
)


def mask_url(url: str) -> str:
    """A URL, or a text that holds URLs, without its credentials.

    ``user:password@`` and the values of query parameters whose name speaks of a signature, a
    token or a key become ``***``; local paths come back unchanged.

    Parameters
    ----------
    url : str

    Returns
    -------
    str

    Examples
    --------
    >>> mask_url("https://bob:pw@host/a.jpg?w=7&X-Amz-Signature=9f3e")
    'https://***@host/a.jpg?w=7&X-Amz-Signature=***'
    >>> mask_url("s3://bucket/a.jpg")
    's3://bucket/a.jpg'
    """
    if "://" not in url:
        return url
    return _QUERY.sub(r"\1=***", _USERINFO.sub("***@", url))
