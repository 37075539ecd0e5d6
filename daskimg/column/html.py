"""A picture, or why there is none, as HTML; nothing in paths and reasons is taken for HTML."""

from __future__ import annotations

import html
import io
from base64 import b64encode

import PIL.Image

__all__ = ["figure"]

MOST_TEXT = 300  # characters of a reason
WRAPS = "overflow-wrap:anywhere"


def figure(
    picture: PIL.Image.Image | None, reason: str = "", caption: str = "", title: str = ""
) -> str:
    """One picture with a text below it and one where the mouse rests on it.

    Parameters
    ----------
    picture : PIL.Image.Image, optional
        Small already; None: `reason` is shown.
    reason, caption, title : str

    Examples
    --------
    >>> figure(None, "decode: <b>")
    '<figure style="margin:0"><div style="color:#c33;...">decode: &lt;b&gt;</div></figure>'
    """
    told = f' title="{html.escape(title)}"' if title else ""
    if picture is None:
        if len(reason) > MOST_TEXT:
            reason = f"{reason[: MOST_TEXT - 1]}…"
        style = f"color:#c33;font-size:11px;text-align:left;max-width:24em;{WRAPS}"
        inner = f'<div style="{style}"{told}>{html.escape(reason)}</div>'
    else:
        out = io.BytesIO()
        clear = picture.has_transparency_data
        kind = "png" if clear else "jpeg"
        (picture if clear else picture.convert("RGB")).save(out, kind, quality=85)
        data = b64encode(out.getvalue()).decode()
        inner = f'<img alt=""{told} src="data:image/{kind};base64,{data}" style="margin:0">'
    if caption:
        inner += f'<figcaption style="font-size:12px;{WRAPS}">{html.escape(caption)}</figcaption>'
    return f'<figure style="margin:0">{inner}</figure>'
