"""How requests of s3fs are sent: not on to another host, whoever says that the answer is there.

aiohttp follows redirects and takes along all headers but ``Authorization``: the session token of a
log-in is one of the others. Amazon's own redirects are answers that botocore reads and signs anew.
"""

from __future__ import annotations

import inspect
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import HTTPClientError

from daskimg.transport.stores import store_of

__all__ = ["KEPT"]


class HomeSession(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's, which stays on the host that it was sent to."""

    async def _get_session(self, proxy_url: Any) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = await super()._get_session(proxy_url)
        if _looks not in session.trace_configs:
            session.trace_configs.append(_looks)
        return session

    async def send(self, request: Any) -> Any:
        """The answer to a request."""
        try:
            return await super().send(request)
        except HTTPClientError as error:
            cause = error.kwargs.get("error")
            raise cause if isinstance(cause, PermissionError) else error from None


async def _stay(session: Any, context: Any, moved: aiohttp.TraceRequestRedirectParams) -> None:
    found = moved.response.headers
    home, there = moved.url, moved.url.join(aiohttp.client.URL(found.get("Location", "")))
    if store_of(str(home)) != store_of(str(there)):
        raise PermissionError(
            f"{store_of(str(home))} says to ask {store_of(str(there))} instead; credentials go to "
            "no other host than the one they were given for"
        )


_looks = aiohttp.TraceConfig()
_looks.on_request_redirect.append(_stay)
_looks.freeze()

#: What `AioConfig` is to be told of it, where it can be.
KEPT: dict[str, Any] = {}
if "http_session_cls" in inspect.signature(AioConfig.__init__).parameters:
    KEPT["http_session_cls"] = HomeSession
