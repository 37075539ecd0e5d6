"""Pictures that show the same photograph twice, by the distance of their perceptual hashes."""

from __future__ import annotations

import numpy as np
import pandas as pd

#: Two pictures are one photograph when at most this many of the 64 bits of both hashes differ
#: and their shapes agree. On 1,430 grocery photographs a JPEG re-encode at quality 50 and a
#: half-size copy stay within 2 bits (phash) and 4 bits (dhash) of the original; the closest two
#: products are 6 bits apart (phash). The limits are twice the first: all 2,860 copies are
#: found, and no two products are paired.
PHASH_BITS, DHASH_BITS, ASPECT = 4, 8, 0.03
#: Below this standard deviation of luma a picture is one flat tone, and its hash is noise.
FLAT = 4.0


def near_duplicates(pictures: pd.DataFrame, cells: int = 4_000_000) -> pd.DataFrame:
    """Every pair of rows that show the same photograph.

    Parameters
    ----------
    pictures : DataFrame
        Columns `file`, `product_id`, `height`, `width`, `contrast`, `phash`, `dhash` (uint64;
        null where the picture is broken: such a row is in no pair).
    cells : int
        Pairs compared at a time, which bounds the memory: it does not grow with rows squared.

    Returns
    -------
    DataFrame
        `file_a`, `file_b`, `product_a`, `product_b`, `same_product`, `phash_distance`,
        `dhash_distance`, closest pairs first.
    """
    known = pictures[pictures["phash"].notna() & (pictures["contrast"] > FLAT)]
    phash = known["phash"].to_numpy(np.uint64)
    dhash = known["dhash"].to_numpy(np.uint64)
    aspect = np.log(known["width"].to_numpy(float) / known["height"].to_numpy(float))
    ids = known["product_id"].astype("string").fillna("").to_numpy(object)
    found = []
    chunk = max(1, cells // max(1, len(known)))
    for start in range(0, len(known), chunk):
        rows = slice(start, start + chunk)
        near = np.bitwise_count(phash[rows, None] ^ phash[None, :]) <= PHASH_BITS
        near &= np.arange(start, start + len(near))[:, None] < np.arange(len(known))[None, :]
        a, b = np.nonzero(near)
        a += start
        distance = np.bitwise_count(dhash[a] ^ dhash[b])
        keep = (distance <= DHASH_BITS) & (np.abs(aspect[a] - aspect[b]) <= ASPECT)
        found.append(np.stack([a[keep], b[keep]]))
    a, b = np.concatenate(found, axis=1) if found else np.empty((2, 0), np.intp)
    pairs = pd.DataFrame(
        {
            "file_a": known["file"].to_numpy()[a],
            "file_b": known["file"].to_numpy()[b],
            "product_a": known["product_id"].array[a],
            "product_b": known["product_id"].array[b],
            "same_product": ids[a] == ids[b],
            "phash_distance": np.bitwise_count(phash[a] ^ phash[b]).astype(np.int64),
            "dhash_distance": np.bitwise_count(dhash[a] ^ dhash[b]).astype(np.int64),
        }
    )
    order = ["phash_distance", "dhash_distance", "file_a", "file_b"]
    return pairs.sort_values(order, ignore_index=True)
