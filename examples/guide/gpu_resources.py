"""GPU resources: so many models in the cluster, each on a GPU, a few batches ready for each."""

import made
import numpy as np
import torch
from distributed import get_worker

import daskimg as di


def process(images, model):
    return images.img.map_batches(
        model, concurrency=4, prefetch_batches=2, num_gpus=1, batch_size=16, meta={"where": str}
    )


def main():
    pixels = np.zeros((160, 16, 16, 3), np.uint8)
    np.save("pixels.npy", pixels)
    images = di.read_numpy("pixels.npy")
    with made.workers(gpus=4) as client:
        where = process(images.repartition(npartitions=8), Processor).compute()["where"]
        assert len(where) == 160
        assert {*where} <= {*client.scheduler_info()["workers"]}
    told = ""
    try:
        process(images, Processor).compute()
    except di.PlacementError as error:
        told = str(error)
    assert "GPU=1" in told  # on CPUs alone it says what is asked for, and where to get it


class Processor:
    def __init__(self):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def __call__(self, batch):
        assert len(batch["image"]) <= 16
        assert get_worker().state.total_resources["GPU"] == 1
        return {"where": [get_worker().address] * len(batch["image"])}


if __name__ == "__main__":
    main()
