"""Credentials in URLs and in names of options: what may not be shown."""

from __future__ import annotations

import re

__all__ = ["SECRET_NAME", "mask_url"]

_SECRET = (
    r"[\w.-]*(?:sig|token|secret|password|passwd|pwd|credential|auth|key|policy|session|jwt|sas)"
    r"[\w.-]*"
)
SECRET_NAME = re.compile(_SECRET, re.IGNORECASE)
_QUERY = re.compile(rf"([?&;#]{_SECRET})=[^&;#\s'\"]*", re.IGNORECASE)
_USERINFO = re.compile(r"([a-zA-Z][\w+.-]*)://([^/?#\s'\"]*)@")


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

    def masked(match: re.Match[str]) -> str:
        scheme, user = match.groups()
        # abfs://container@account and sftp://user@host name a place, not a secret
        secret = ":" in user or scheme in ("http", "https")
        return f"{scheme}://***@" if secret else match.group()

    return _QUERY.sub(r"\1=***", _USERINFO.sub(masked, url))
