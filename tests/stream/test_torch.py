"""Every row reaches one reader, once an epoch, decoded there and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

import daskimg as di
from daskimg import metrics
from daskimg.stream.shards import Reader, plan_batches
from daskimg.testing import make_images
from tests.stream.conftest import ROWS, uniform

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")


class Noted:
    """Writes down, in a file that processes share, that a picture was decoded."""

    def __init__(self, log):
        self.log = str(log)

    def __call__(self, pixels):
        with open(self.log, "ab", buffering=0) as file:
            file.write(b"x")
        return pixels

    def __dask_tokenize__(self):
        return self.log


def noted(frame, log):
    return frame.assign(image=frame.image.img.apply(Noted(log)))


def loaded(dataset, workers=0, **kwargs):
    return list(DataLoader(dataset, batch_size=None, num_workers=workers, **kwargs))


def numbers(batches):
    return [label.tolist() for _, label in batches]


def flat(lists):
    return [x for inner in lists for x in inner]


# -- what a batch is ------------------------------------------------------------------------------
def test_batches_are_nchw_and_labels(frame, answer):
    batches = list(frame.img.to_torch("image", "n", batch_size=16))
    assert [x.shape[0] for x, _ in batches] == [16, 16, 8]
    pixels = torch.cat([x for x, _ in batches])
    assert pixels.shape == (ROWS, 3, 6, 5)
    assert pixels.is_contiguous()
    np.testing.assert_array_equal(pixels.numpy(), answer.transpose(0, 3, 1, 2))
    assert flat(numbers(batches)) == list(range(ROWS))


def test_channels_last_is_a_memory_format(frame, answer):
    ((pixels, _),) = frame.img.to_torch("image", batch_size=99, channels_last=True)
    assert pixels.shape == (ROWS, 3, 6, 5)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(pixels.numpy(), answer.transpose(0, 3, 1, 2))


def test_grey_masks_vectors_and_dtypes(frame, answer):
    df = frame.assign(mask=frame.image.img.convert("L"), m=frame.image.img.mean())
    ((x, y),) = df.img.to_torch(
        ["image", "m"], "mask", batch_size=99, dtypes={"image": torch.float32}
    )
    assert {name: (tuple(t.shape), t.dtype) for name, t in x.items()} == {
        "image": ((ROWS, 3, 6, 5), torch.float32),
        "m": ((ROWS,), torch.float64),
    }
    assert y.shape == (ROWS, 1, 6, 5)
    vectors = df.img.map_batches(
        lambda b: {"v": b["image"].mean((1, 2)).astype("float32")}, columns=["image"]
    )
    ((x, y),) = vectors.img.to_torch("v", batch_size=99)
    assert x.shape == (ROWS, 3)
    assert y is None


def test_a_batch_belongs_to_its_reader(frame):
    df = frame.persist(scheduler="sync")
    before = df.image.compute().img.to_numpy().copy()
    for pixels, label in df.img.to_torch("image", "n"):
        pixels.zero_(), label.zero_()
    np.testing.assert_array_equal(df.image.compute().img.to_numpy(), before)


def test_what_has_no_tensor_says_what_to_do(folder, frame):
    with pytest.raises(ValueError, match="resize"):
        list(di.read_images(folder).img.to_torch("image"))
    with pytest.raises(TypeError, match="'path' is not of numbers"):
        list(frame.img.to_torch("image", "path"))
    with pytest.raises(KeyError, match="no column 'label'"):
        frame.img.to_torch("image", "label")
    with pytest.raises(ValueError, match="at least one"):
        frame.img.to_torch([], "n")
    with pytest.raises(ValueError, match="rank"):
        frame.img.to_torch("image", rank=2, world_size=2)


# -- readers --------------------------------------------------------------------------------------
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_dataloader_workers_share_the_rows(frame, answer, tmp_path, workers):
    log = tmp_path / "log"
    dataset = noted(frame, log).img.to_torch("image", "n", batch_size=8)
    batches = loaded(dataset, workers)
    assert sorted(flat(numbers(batches))) == list(range(ROWS))
    assert log.stat().st_size == ROWS, "each picture is decoded once"
    for pixels, label in batches:
        np.testing.assert_array_equal(pixels.numpy(), answer[label].transpose(0, 3, 1, 2))


@pytest.mark.long
@pytest.mark.timeout(240)
def test_spawned_workers_that_are_kept_see_the_epoch(frame, tmp_path):
    log = tmp_path / "log"
    dataset = noted(frame, log).img.to_torch("image", "n", batch_size=8)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=2,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )
    epochs = []
    for epoch in (0, 1, 0):
        dataset.set_epoch(epoch)
        epochs.append(flat(numbers(loader)))
    assert epochs[0] == epochs[2] != epochs[1]
    assert all(sorted(found) == list(range(ROWS)) for found in epochs)
    assert log.stat().st_size == 3 * ROWS


# Frames whose rows can be counted before pictures are opened, and those where they cannot.
KINDS = {
    "files": lambda d: d,
    "encoded": lambda d: d.assign(image=d.image.img.encode("png")).persist(scheduler="sync"),
    "filter of the table": lambda d: d[d.n != 11],
    "filter that decodes": lambda d: d[d.image.img.mean() > 100],
    "partitions of the user": lambda d: d.map_partitions(lambda part: part, meta=d._meta),
    "one partition": lambda d: d.repartition(npartitions=1),
}


@pytest.mark.sampled(one_in=3)
@pytest.mark.parametrize("readers", [(2, 1), (3, 2)])
@pytest.mark.parametrize("name", KINDS)
def test_readers_take_each_row_once(frame, name, readers):
    df = KINDS[name](frame)
    ranks, workers = readers
    wanted = sorted(df.n.compute())
    dataset = df.img.to_torch("image", "n", batch_size=4)
    for epoch in (None, 0, 1):
        if epoch is not None:
            dataset.set_epoch(epoch)
        seed = None if epoch is None else 0
        found = []
        for rank in range(ranks):
            for worker in range(workers):
                work = dataset.data.work(Reader(rank, ranks, worker, workers), epoch or 0, seed)
                for source in work.sources:
                    rows = source()
                    found += (rows if work.rows is None else work.rows(rows)).n.tolist()
        assert sorted(found) == wanted
        if epoch is not None and name != "one partition":
            assert found != wanted


def test_a_frame_of_files_is_shuffled_whole(frame):
    dataset = frame.img.to_torch("image", "n", batch_size=10)
    assert flat(numbers(dataset)) == list(range(ROWS)), "no epoch: the frame's order"
    dataset.set_epoch(0)
    first = flat(numbers(dataset))
    dataset.set_epoch(1)
    second = flat(numbers(dataset))
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert first != second
    spread = [max(first[i : i + 10]) - min(first[i : i + 10]) for i in range(0, ROWS, 10)]
    assert min(spread) > 10, "rows of many partitions in each batch"
    assert flat(numbers(frame.img.to_torch("image", "n", shuffle=False))) == list(range(ROWS))
    other = frame.img.to_torch("image", "n", shuffle=True, seed=5)
    assert flat(numbers(other)) != first


def test_the_epoch_moves_random_ops_on(folder):
    def flipped(epoch):
        df = uniform(folder)
        return df.assign(image=df.image.img.random_flip(0.5, seed=2, epoch=epoch))

    wanted = flipped(3).image.compute().img.to_numpy()
    dataset = flipped(0).img.to_torch("image", "n", batch_size=16)
    dataset.set_epoch(3)
    for pixels, label in dataset:
        np.testing.assert_array_equal(pixels.numpy(), wanted[label].transpose(0, 3, 1, 2))
    other = flipped(0).image.compute().img.to_numpy()
    assert (wanted != other).any()


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("size", [2, 3, 8, 32])
def test_ranks_make_equally_many_batches(size, drop_last):
    for n in range(4, 140):
        for ranks, workers in ((1, 1), (2, 1), (3, 1), (2, 2), (4, 3)):
            if n < ranks * workers:
                continue
            steps = []
            seen = 0
            for rank in range(ranks):
                plans = [
                    plan_batches(n, place, size, drop_last)
                    for place in (Reader(rank, ranks, w, workers) for w in range(workers))
                ]
                assert all(plan is not None for plan in plans)
                steps.append([len(plan) for plan in plans])
                assert all(0 < k <= size for plan in plans for k in plan)
                seen += sum(map(sum, plans))
            assert all(each == steps[0] for each in steps)
            assert seen <= n if drop_last else seen == n


def test_rows_are_counted_where_no_picture_need_be_opened(frame, folder):
    dataset = uniform(folder, without="00011").img.to_torch("image", "n")
    assert dataset.data.rows() == ROWS - 1
    assert KINDS["filter that decodes"](frame).img.to_torch("image").data.rows() is None
    assert KINDS["encoded"](frame).img.to_torch("image").data.rows() == ROWS


def test_one_reader_makes_full_batches():
    assert plan_batches(100, Reader(), 32, False) == [32, 32, 32, 4]
    assert plan_batches(100, Reader(), 32, True) == [32, 32, 32]
    assert plan_batches(0, Reader(), 32, False) == []


TRAIN = """
import json, sys
import torch, torch.distributed as dist
from torch.utils.data import DataLoader
import daskimg as di
from tests.stream.test_torch import noted
from tests.stream.conftest import uniform

folder, place, rank = sys.argv[1], sys.argv[2], int(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{place}/store", rank=rank, world_size=2)
frame = noted(uniform(folder, without="00007"), f"{place}/log")  # 39 rows: 19 and 20
dataset = frame.img.to_torch("image", "n", batch_size=19)
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(90, 1))
seen = []
for epoch in range(2):
    dataset.set_epoch(epoch)
    rows = []
    for x, y in DataLoader(dataset, batch_size=None, num_workers=2):
        loss = (model(x.float().flatten(1))[:, 0] - y).square().mean()
        loss.backward()  # waits for the other rank
        rows += y.tolist()
    seen.append(rows)
dist.barrier()
json.dump(seen, open(f"{place}/{rank}.json", "w"))
"""


@pytest.mark.long
@pytest.mark.timeout(240)
def test_two_ranks_train_together(folder, tmp_path):
    env = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    command = [sys.executable, "-W", "ignore", "-c", TRAIN, folder, str(tmp_path)]
    ranks = [subprocess.Popen([*command, str(rank)], env=env) for rank in range(2)]
    try:
        assert [rank.wait(200) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    wanted = [n for n in range(ROWS) if n != 7]
    for epoch in range(2):
        assert sorted(first[epoch] + second[epoch]) == wanted
        assert abs(len(first[epoch]) - len(second[epoch])) <= 1
    assert first[0] != first[1]
    assert (tmp_path / "log").stat().st_size == 2 * len(wanted), "decodes over ranks and epochs"


def test_rank_of_the_environment(frame, monkeypatch):
    dataset = frame.img.to_torch("image", "n", batch_size=20)
    found = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        found.append(flat(numbers(dataset)))
    assert found == [list(range(20)), list(range(20, ROWS))]


def test_nulls_are_left_out(tmp_path):
    paths = make_images(tmp_path, 4, size=(8, 8), broken=1)
    df = dd.from_pandas(pd.DataFrame({"path": paths, "n": range(5)}), npartitions=2)
    image = di.images(df.path, on_error="null").img.decode("RGB").img.resize(4, 4)
    df = df.assign(image=image)
    assert flat(numbers(df.img.to_torch("image", "n", on_null="drop"))) == [0, 1, 2, 3]
    with pytest.raises(di.ImageError, match="broken_00"):
        list(df.img.to_torch("image", "n"))


# -- iter_torch_batches ---------------------------------------------------------------------------
def test_iter_torch_batches(frame, answer):
    batches = list(frame.img.iter_torch_batches(16, device="cpu", dtypes={"image": torch.float32}))
    assert torch.cat([b["image"] for b in batches]).dtype == torch.float32
    pixels = torch.cat([b["image"] for b in batches]).numpy()
    np.testing.assert_array_equal(pixels, answer)
    assert isinstance(batches[0]["path"][0], str)
    made = list(frame.img.iter_torch_batches(16, collate_fn=lambda b: (len(b["n"]), b["n"].sum())))
    assert [n for n, _ in made] == [16, 16, 8]
    with pytest.raises(KeyError, match="'x'"):
        next(frame.img.iter_torch_batches(4, dtypes={"x": torch.float32}))


def test_pictures_of_many_shapes_are_lists(folder):
    batch = next(di.read_images(folder).img.iter_torch_batches(3))
    assert [x.ndim for x in batch["image"]] == [3, 3, 3]


@pytest.mark.gpu
def test_iter_torch_batches_on_a_gpu(frame, answer):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    batches = list(frame.img.iter_torch_batches(16))
    assert all(b["image"].is_cuda for b in batches)
    np.testing.assert_array_equal(torch.cat([b["image"] for b in batches]).cpu().numpy(), answer)


# -- how many batches -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 7},
        {"batch_size": 8},
        {"batch_size": 7, "drop_last": True},
        {"batch_size": 3, "rank": 1, "world_size": 3},
        {"batch_size": 100},
    ],
)
def test_len_is_the_number_of_batches(frame, options):
    dataset = frame.img.to_torch("image", "n", **options)
    metrics.reset()
    n = len(dataset)
    assert "decode" not in metrics.snapshot()
    assert n == len(list(dataset)) == len(DataLoader(dataset, batch_size=None))


def test_len_after_filters(frame):
    for dataset in (
        frame[frame.image.img.mean() > 100].img.to_torch("image"),
        frame.img.to_torch("image", on_null="drop"),
    ):
        with pytest.raises(TypeError, match="not known before the rows are computed"):
            len(dataset)
        assert len(list(dataset)) > 0


# -- words that people bring along ----------------------------------------------------------------
def test_words_of_others_are_taken(frame):
    ours = numbers(frame.img.to_torch("image", "n", batch_size=16))
    assert numbers(frame.img.to_torch(feature_column="image", labels="n", batch_size=16)) == ours
    assert numbers(frame.img.to_torch("image", label_columns=["n"], batch_size=16)) == ours


def test_other_words_name_ours(frame):
    with pytest.raises(TypeError, match=r"DataLoader\(dataset, batch_size=None, num_workers="):
        frame.img.to_torch("image", num_workers=2)
    with pytest.raises(TypeError, match="label_column twice"):
        frame.img.to_torch("image", "n", label_columns="n")
    with pytest.raises(ValueError, match="one column"):
        frame.img.to_torch("image", ["n", "n"])
    with pytest.raises(TypeError, match=r"to_torch\(\) has no nonsense=: it takes feature_columns"):
        frame.img.to_torch("image", nonsense=1)
    with pytest.raises(TypeError, match="shuffle_buffer= mixes rows"):
        frame.img.iter_batches(shuffle=True)
    with pytest.raises(TypeError, match="prefetch_partitions="):
        frame.img.iter_torch_batches(prefetch_batches=2)
    with pytest.raises(ValueError, match=r'got \'pt\', which is "torch" here'):
        frame.img.iter_batches(batch_format="pt")
    with pytest.raises(ValueError, match=r'got \'pyarrow\', which is "arrow" here'):
        frame.img.map_batches(lambda batch: batch, batch_format="pyarrow")
    with pytest.raises(ValueError, match="to_tf"):
        frame.img.take_batch(2, batch_format="tf")


@pytest.mark.parametrize(
    "env", [{"RANK": "1"}, {"WORLD_SIZE": "2"}, {"RANK": "2", "WORLD_SIZE": "2"}]
)
def test_half_of_what_a_launcher_says_is_an_error(folder, monkeypatch, env):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    frame = di.read_images(folder, size=(4, 4), mode="RGB")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="RANK and WORLD_SIZE go together"):
        next(iter(frame.img.to_torch("image")))
    assert len(frame.img.to_torch("image", rank=0, world_size=1)) > 0


def test_dtypes_of_columns_that_are_not_there(folder):
    frame = di.read_images(folder, size=(4, 4), mode="RGB").assign(label=1)
    with pytest.raises(KeyError, match="dtypes names 'imgae'; the columns are"):
        frame.img.to_torch("image", "label", dtypes={"imgae": torch.float16})
    found, label = next(iter(frame.img.to_torch("image", "label", dtypes={"label": torch.int8})))
    assert (found.dtype, label.dtype) == (torch.uint8, torch.int8)
