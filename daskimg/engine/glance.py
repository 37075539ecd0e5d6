"""Small pictures of what goes through, now and then, for the dashboard's page."""

from __future__ import annotations

import base64
import io
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from daskimg import metrics

__all__ = ["glance"]

EVERY = 2.0  # seconds between two, in a process
SIDE = 96  # pixels


def glance(pixels: Any, by: metrics.Origin) -> None:
    """Show one picture, made small by leaving out most of its pixels; odd ones are not shown."""
    metrics.peek.due = perf_counter() + EVERY
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or not pixels.size:
        return
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        pixels = pixels[..., :3]
    elif pixels.ndim != 2:
        return
    step = -(-max(pixels.shape[:2]) // SIDE)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[::step, ::step])).save(file, "JPEG", quality=70)
    metrics.note({"thumbnails": [base64.b64encode(file.getvalue()).decode()]}, by)
