"""Words that people bring along from other libraries: taken where the meaning is plain."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["known_as"]

F = TypeVar("F", bound=Callable[..., Any])

# what others call a parameter: ours, where its values mean the same
SAME = {
    "feature": "feature_columns",
    "features": "feature_columns",
    "feature_column": "feature_columns",
    "label": "label_column",
    "labels": "label_column",
    "label_columns": "label_column",
    "local_shuffle_buffer_size": "shuffle_buffer",
    "local_shuffle_seed": "seed",
    "drop_remainder": "drop_last",
    "dtype": "dtypes",
}
# what to do in place of others
INSTEAD = {
    "prefetch_batches": "prefetch_partitions= counts what is made ahead",
    "num_workers": "dask.config.set(num_workers=...) says how many threads decode; workers of a "
    "DataLoader: DataLoader(dataset, batch_size=None, num_workers=...)",
    "pin_memory": "iter_torch_batches(device=...) goes through pinned memory by itself",
    "transform": "derive a column first: df.assign(image=df.image.img.resize(224, 224))",
    "shuffle_buffer_size": "shuffle_buffer= is the number of rows held back",
    "shuffle": "shuffle_buffer= mixes rows, with seed=; read_images(shuffle=True) shuffles files",
    "format": "batch_format= is the form of a batch",
    "collate_fn": "iter_torch_batches takes collate_fn=",
    "device": "iter_torch_batches takes device=",
}


def known_as(**own: str) -> Callable[[F], F]:
    """A function that takes other names of its parameters too.

    Parameters
    ----------
    **own : str
        Other names of this function's, and what it calls them itself.

    Examples
    --------
    >>> @known_as()
    ... def feed(feature_columns, label_column=None, batch_size=32):
    ...     return feature_columns, label_column
    >>> feed(feature_column="image", label="y")
    ('image', 'y')
    >>> feed("image", transform=print)
    Traceback (most recent call last):
    ...
    TypeError: feed() has no transform=: derive a column first: \
df.assign(image=df.image.img.resize(224, 224))
    """

    def known(function: F) -> F:
        names = list(inspect.signature(function).parameters)
        same: Mapping[str, str] = {**SAME, **own}

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            given = names[: len(args)]
            for word in [word for word in kwargs if word not in names]:
                name = same.get(word)
                if name in names:
                    if name in kwargs or name in given:
                        raise TypeError(
                            f"{function.__name__}() got {name} twice: {word}= is {name}="
                        )
                    kwargs[name] = kwargs.pop(word)
                elif word in INSTEAD:
                    raise TypeError(f"{function.__name__}() has no {word}=: {INSTEAD[word]}")
                else:
                    rest = ", ".join(names[1:])
                    raise TypeError(f"{function.__name__}() has no {word}=; it takes {rest}")
            return function(*args, **kwargs)

        return call  # type: ignore[return-value]

    return known
