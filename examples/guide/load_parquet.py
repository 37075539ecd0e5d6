"""Loading images, Parquet: pictures and what is known of them, or only some of the columns."""

from pathlib import Path

import made
import numpy as np
import pandas as pd

import daskimg as di


def load(table):
    everything = di.read_parquet(table)
    essential = di.read_parquet(table, columns=["image", "label", "timestamp"])
    return everything, essential


def main():
    images = made.pictures()
    expected = made.opened(images)
    table = pd.DataFrame(
        {
            # as Hugging Face writes them; a column of bytes alone: image_columns=["image"]
            "image": [
                {"bytes": Path(images, name).read_bytes(), "path": name} for name in expected
            ],
            "label": [name.partition("/")[0] for name in expected],
            "timestamp": pd.date_range("2026-01-01", periods=len(expected)),
            "notes": "",
        }
    )
    table.to_parquet("table.parquet")
    everything, essential = load("table.parquet")
    assert list(everything.columns) == list(table.columns)
    assert list(essential.columns) == ["image", "label", "timestamp"]
    assert list(essential.label.compute()) == list(table.label)
    brightest = everything.image.img.max().compute()
    assert np.allclose(brightest, [pixels.max() for pixels in expected.values()])


if __name__ == "__main__":
    main()
