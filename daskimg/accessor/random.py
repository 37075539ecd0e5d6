"""Random changes, keyed by the row: the same row is the same picture wherever it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from daskimg.accessor.base import Accessor, number, per_row, size_of, span
from daskimg.accessor.color import ColorOps
from daskimg.accessor.geometry import GeometryOps
from daskimg.engine.program import PATH
from daskimg.errors import quoted
from daskimg.kernels.augment import RANDOM

__all__ = ["RandomOps"]

Range = float | tuple[float, float]


class RandomOps(Accessor):
    """Augmentations. Parameters are drawn as torchvision's transforms draw them.

    A row's random numbers follow from ``(seed, epoch, key)`` alone, whatever the partitioning,
    the worker or a retry. The key is the picture's path, or the value that a Series `key` has in
    that row (a column without paths needs it).
    """

    def _random(self, name: str, seed: int, epoch: int, key: Any, *params: Any) -> Any:
        if key is None and not self._has_paths():
            raise ValueError(
                f"{name} is keyed by each picture's path, and this column has none; give key=, "
                "a Series with a value of its own for each row"
            )
        if key is not None and not per_row(key):
            raise TypeError(f"key is a Series with a value for each row; got {quoted(key)}")
        return self._op(name, PATH if key is None else key, int(seed), int(epoch), *params)

    def random_flip(self, p: float = 0.5, *, seed: int = 0, epoch: int = 0, key: Any = None) -> Any:
        """Mirror left and right with probability `p`.

        Parameters
        ----------
        p : float
            0 to 1.
        seed, epoch : int
            Other numbers, other pictures.
        key : Series, optional
            What names each row; None: its path.

        Examples
        --------
        >>> rows = pd.Series(range(3))
        >>> pictures.img.random_flip(0.5, seed=1, key=rows).img.width.tolist()
        [6, 3, <NA>]
        """
        return self._random("random_flip", seed, epoch, key, *number(0, 1, p=p))

    def random_rotation(
        self, degrees: Range, *, seed: int = 0, epoch: int = 0, key: Any = None
    ) -> Any:
        """Rotate by an angle of ``(-degrees, degrees)``, or of a pair; keywords as `random_flip`.

        Examples
        --------
        >>> pictures.img.random_rotation(10, key=pd.Series(range(3))).img.height.tolist()
        [4, 2, <NA>]
        """
        return self._random("random_rotation", seed, epoch, key, span("degrees", degrees))

    def random_crop(
        self,
        height: int | Sequence[int],
        width: int | None = None,
        *,
        seed: int = 0,
        epoch: int = 0,
        key: Any = None,
    ) -> Any:
        """A part of `height` x `width` pixels, each as likely; keywords as `random_flip`.

        Examples
        --------
        >>> pictures.img.random_crop(2, 2, key=pd.Series(range(3))).img.width.tolist()
        [2, 2, <NA>]
        """
        size = size_of("random_crop", height, width)
        return self._random("random_crop", seed, epoch, key, *size)

    def random_resized_crop(
        self,
        height: int | Sequence[int],
        width: int | None = None,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        *,
        seed: int = 0,
        epoch: int = 0,
        key: Any = None,
    ) -> Any:
        """A random part, resized to `height` x `width`; keywords as `random_flip`.

        Parameters
        ----------
        height, width : int
        scale : (low, high)
            Share of the picture's area.
        ratio : (low, high)
            Width over height of the part.
        seed, epoch, key
            As in `random_flip`.

        Examples
        --------
        >>> part = pictures.img.random_resized_crop(8, 8, key=pd.Series(range(3)))
        >>> part.img.height.tolist()
        [8, 8, <NA>]
        """
        size = size_of("random_resized_crop", height, width)
        bounds = (span("scale", scale, 0, pair=True), span("ratio", ratio, 0, pair=True))
        if not bounds[0][0] or not bounds[1][0]:
            raise ValueError(f"scale and ratio are above 0; got {scale!r} and {ratio!r}")
        return self._random("random_resized_crop", seed, epoch, key, *size, *bounds)

    def color_jitter(
        self,
        brightness: Range = 0.0,
        contrast: Range = 0.0,
        saturation: Range = 0.0,
        hue: Range = 0.0,
        *,
        seed: int = 0,
        epoch: int = 0,
        key: Any = None,
    ) -> Any:
        """Brightness, contrast, saturation and hue by random factors, in random order.

        Parameters
        ----------
        brightness, contrast, saturation : float or (low, high)
            A factor of ``(max(0, 1 - x), 1 + x)``, or of the pair.
        hue : float or (low, high)
            A part of the circle, of ``(-x, x)``, at most half of it.
        seed, epoch, key
            As in `random_flip`.

        Examples
        --------
        >>> pictures.img.color_jitter(brightness=0.5, key=pd.Series(range(3))).dtype
        image[pixels]
        """
        factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        ranges = [span(name, value, 0) for name, value in factors.items()]
        ranges.append(span("hue", hue, -0.5, 0.5))
        return self._random("color_jitter", seed, epoch, key, *ranges)

    def augment(
        self,
        steps: Sequence[Any],
        *,
        seed: int = 0,
        epoch: int = 0,
        key: Any = None,
    ) -> Any:
        """Several changes, one after the other.

        Parameters
        ----------
        steps : sequence
            Ops, random or not: a name, ``(name, {keyword: value})``, ``(name, value, ...)``,
            ``{name: {keyword: value}}``, or a function of the pixels, as for `apply`.
        seed, epoch, key
            For the random ones; as in `random_flip`.

        Examples
        --------
        >>> steps = ["random_flip", ("random_crop", {"height": 2, "width": 2}), ("pad", 0, 1, 0, 1)]
        >>> pictures.img.augment(steps, key=pd.Series(range(3))).img.width.tolist()
        [4, 4, <NA>]
        """
        column = self._series
        for name, values, options in [part for step in _listed(steps) for part in _steps(step)]:
            if name in RANDOM:
                options = {"seed": seed, "epoch": epoch, "key": key, **options}
            column = getattr(column.img, name)(*values, **options)
        return column


STEPS = sorted(
    name
    for ops in (GeometryOps, ColorOps, RandomOps)
    for name in vars(ops)
    if not name.startswith("_") and name != "augment"
)


def _listed(steps: Any) -> Sequence[Any]:
    """One step is a list of one."""
    return [steps] if isinstance(steps, str | Mapping) or callable(steps) else steps


def _steps(step: Any) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Names of ops with their values and keywords, of whatever spells them."""
    if callable(step):
        return [("apply", (step,), {})]
    if isinstance(step, Mapping):
        return [found for name, options in step.items() for found in _steps((name, options))]
    name, *values = step if isinstance(step, list | tuple) and step else [step]
    options: dict[str, Any] = {}
    if values and isinstance(values[-1], Mapping):
        options = dict(values.pop())
    if name not in STEPS:
        raise ValueError(f"augment takes the ops {', '.join(STEPS)}; got {step!r}")
    return [(name, tuple(values), options)]
