"""Measures: one number for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal

from daskimg.accessor.base import Accessor
from daskimg.kernels.exif_tags import KINDS, POSITION

__all__ = ["MEASURES", "NUMBERS", "MeasureOps"]

MEASURES = (
    "mean",
    "std",
    "min",
    "max",
    "brightness",
    "contrast",
    "sharpness",
    "entropy",
    "colorfulness",
)
NUMBERS = (*MEASURES, "blurriness", "transparency", "height", "width", "channels", "nbytes")


class MeasureOps(Accessor):
    """Numbers that tell about a picture.

    `mean`, `std`, `min` and `max` are of the values as they are. All others are of light on the
    scale of 8 bits, the same in every dtype (see `astype`).
    """

    # -- measures -----------------------------------------------------------------------------
    def mean(self) -> Any:
        """Mean of all pixels and channels (float64).

        Examples
        --------
        >>> pictures.img.mean().tolist()
        [200.0, 50.0, nan]
        """
        return self._op("mean")

    def std(self) -> Any:
        """Standard deviation of all pixels and channels (float64; NumPy's, ddof 0)."""
        return self._op("std")

    def min(self) -> Any:
        """The smallest value of all pixels and channels (float64)."""
        return self._op("min")

    def max(self) -> Any:
        """The largest value of all pixels and channels (float64)."""
        return self._op("max")

    def brightness(self) -> Any:
        """Mean of luma (ITU-R 601), 0 to 255 (float64)."""
        return self._op("brightness")

    def contrast(self) -> Any:
        """Standard deviation of luma (ITU-R 601), on the scale 0 to 255 (float64)."""
        return self._op("contrast")

    def sharpness(self) -> Any:
        """Variance of the Laplacian of luma (float64): low for a blurred picture.

        As in Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", 2000.
        """
        return self._op("sharpness")

    def blurriness(self) -> Any:
        """How blurred, 0 to 1 (float64), whatever the picture's size and contrast.

        As in Crete et al., "The blur effect", 2007: what differences of neighbours keep when the
        picture, at 256 pixels of its longer side, is blurred once more. NaN for a flat picture.
        """
        return self._op("blurriness")

    def percentile(self, share: float) -> Any:
        """The luma that `share` percent of the pixels do not exceed, 0 to 255 (float64).

        Examples
        --------
        >>> pictures.img.percentile(99).tolist()
        [200.0, 50.0, nan]
        """
        if not 0 <= share <= 100:
            raise ValueError(f"share is a percentage, 0 to 100; got {share!r}")
        return self._op("percentile", float(share))

    def transparency(self) -> Any:
        """The share of the picture that alpha hides, 0 to 1 (float64)."""
        return self._op("transparency")

    def entropy(self) -> Any:
        """Shannon entropy of the luma histogram, in bits (float64)."""
        return self._op("entropy")

    def colorfulness(self) -> Any:
        """Hasler and Suesstrunk's colourfulness, 2003 (float64): 0 for grey."""
        return self._op("colorfulness")

    def hash(self, kind: Literal["phash", "dhash", "ahash"] = "phash") -> Any:
        """A 64-bit perceptual hash (UInt64): few bits differ between similar pictures.

        Examples
        --------
        >>> pictures.img.hash("dhash").dtype
        UInt64Dtype()
        """
        if kind not in ("phash", "dhash", "ahash"):
            raise ValueError(f'kind is "phash", "dhash" or "ahash"; got {kind!r}')
        return self._op("hash", kind)

    def digest(self, of: Literal["bytes", "pixels"] = "bytes") -> Any:
        """What tells exact copies (string): 32 hexadecimal digits, equal where the copies are.

        Parameters
        ----------
        of : {"bytes", "pixels"}
            Of a file as it is, not decoded; or of the picture, whatever holds it: a PNG and a BMP
            of the same pixels are equal, and so are grey kept in three channels and grey in one,
            with alpha that hides nothing or without. (BLAKE2b, 128 bits.)

        Examples
        --------
        >>> png, bmp = pictures.img.encode("png"), pictures.img.encode("bmp")
        >>> (png.img.digest("pixels") == bmp.img.digest("pixels")).tolist()
        [True, True, <NA>]
        >>> (png.img.digest() == bmp.img.digest()).tolist()
        [False, False, <NA>]
        """
        if of not in ("bytes", "pixels"):
            raise ValueError(f'of is "bytes" or "pixels"; got {of!r}')
        return self._op(f"digest_{of}")

    def exif(self, tags: Sequence[str] = ("DateTimeOriginal", "Orientation", "GPS")) -> Any:
        """EXIF tags as a frame, a column each, from the header; nothing is decoded.

        Parameters
        ----------
        tags : sequence of str
            Names of EXIF: ``"Model"``, ``"DateTimeOriginal"``, ``"FNumber"``. ``"GPS"`` is
            `GPSLatitude`, `GPSLongitude` (degrees, north and east above 0) and `GPSAltitude` (m).

        Returns
        -------
        DataFrame
            Times are datetime64, counts and codes Int64, ratios float64, all else string; null
            where a picture has no such tag. ``exif_error`` tells why a block (or a file) cannot
            be read, and all tags are null then. It never raises, whatever the column's policy.

        Examples
        --------
        >>> pictures.img.exif(["Model", "FNumber"]).dtypes.tolist()
        [<StringDtype(na_value=<NA>)>, dtype('float64'), <StringDtype(na_value=<NA>)>]
        """
        names: list[str] = []
        for tag in [tags] if isinstance(tags, str) else tags:
            if tag != "GPS" and tag not in KINDS:
                near = get_close_matches(str(tag), KINDS, 1) or ["Model"]
                raise ValueError(f"tags are those of EXIF, and GPS; got {tag!r} ({near[0]}?)")
            names += POSITION if tag == "GPS" else [tag]
        columns = {name: self._op("exif", name) for name in dict.fromkeys(names)}
        columns["exif_error"] = self._op("exif")
        return self._series.to_frame("image").assign(**columns)[list(columns)]

    def measures(self, names: str | Sequence[str] = MEASURES) -> Any:
        """Several measures as a frame, a column each, in one pass.

        Parameters
        ----------
        names : str or sequence of str
            Names of measures and header fields.

        Examples
        --------
        >>> pictures.img.measures(["height", "mean"])
           height   mean
        0       4  200.0
        1       2   50.0
        2    <NA>    NaN
        """
        names = [names] if isinstance(names, str) else list(names)
        known = {*NUMBERS, "hash"}
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"measures are {', '.join(sorted(known))}; got {unknown}")
        columns = {}
        for name in names:
            value = getattr(self, name)
            columns[name] = value() if callable(value) else value
        return self._series.to_frame("image").assign(**columns)[names]
