"""What is done to pixels: NumPy in, NumPy out; no pandas, no Dask.

Pixels are ``(H, W)`` for grey (``L`` uint8, ``I;16`` uint16, ``F`` floats, ``I`` other integers)
and ``(H, W, C)`` for ``LA``, ``RGB`` and ``RGBA``. A kernel never changes its input; it may return
a view of it. What value is white, `pixels.white` tells, for all of them.

==========  ==========================================================================
codec       formats, headers, decode and encode
pixels      modes, and the way to and from Pillow
geometry    resize, crop, pad, flip, rotate
color       convert, astype, normalize, brightness, contrast, saturation, hue, equalize
filters     blur, sharpen, edges, drawn boxes and masks
measure     one number a picture: mean, sharpness, hashes, ...
augment     random geometry and colour, keyed so that a row always gets the same picture
==========  ==========================================================================
"""
