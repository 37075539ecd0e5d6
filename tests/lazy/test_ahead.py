"""What is begun before a piece's turn comes."""

from __future__ import annotations

import dask.dataframe as dd
import pandas as pd

import daskimg as di
from daskimg.lazy.partitions import parts, settled
from daskimg.testing import make_images
from tests.servers import web_server  # noqa: F401


def work_on(paths):
    """The rows of a frame, and what is done to them."""
    frame = dd.from_pandas(pd.DataFrame({"path": paths}), npartitions=1)
    found = parts(settled(frame.assign(image=di.images(frame["path"]).img.decode())))
    (source,) = found.sources
    return source(), found.rows


def test_a_piece_of_local_files_does_not_end_the_questions(tmp_path, web_server):  # noqa: F811
    (here,) = make_images(tmp_path, 1, size=(4, 5))
    rows, work = work_on([here, here, f"{web_server.url}/there.jpg"])
    assert work.ahead(rows[:2]) is None
    feeds = work.ahead(rows[2:])
    assert feeds is not None
    feeds.close()
    assert work.ahead(rows[:1]) is None
