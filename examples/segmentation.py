"""Train a small U-Net on pictures with masks, then cut out the same things in other pictures.

Pictures and masks are two image columns of one row. Training crops and mirrors both alike: random
ops draw by row, so the same `key` gives the same draw. The mask of each other picture is made at
its full size, and written as PNG next to the picture, with the overlay of the two.

    python examples/segmentation.py               # coins: the left of the photograph, the right
    python examples/segmentation.py --images photos/ --masks masks/ --others more-photos/

A mask has the name of its picture, as PNG; what is not dark in it is the thing. Masks of
`--others`, if there are any, are in the same folder: they tell how good the new ones are.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import torch
from photographs import save_coins
from running import gpus, named, parser, start
from torch import nn
from torch.utils.data import DataLoader

import daskimg as di

SIZE = 64


class UNet(nn.Module):
    """A small U-Net (Ronneberger et al. 2015); `widths` are the channels of its levels."""

    def __init__(self, widths: Sequence[int] = (8, 16, 32, 48)) -> None:
        super().__init__()
        self.times = 2 ** (len(widths) - 1)  # sides have to be multiples of this
        self.down = nn.ModuleList(map(double, (3, *widths[:-1]), widths))
        wider = [(a + b, a) for a, b in pairwise(widths)]
        self.up = nn.ModuleList(double(into, out) for into, out in reversed(wider))
        self.score = nn.Conv2d(widths[0], 1, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        levels = [self.down[0](pictures)]
        for layer in self.down[1:]:
            levels.append(layer(nn.functional.max_pool2d(levels[-1], 2)))
        found = levels.pop()
        for layer in self.up:
            twice = nn.functional.interpolate(found, scale_factor=2)
            found = layer(torch.cat([levels.pop(), twice], 1))
        return self.score(found)


def double(channels: int, more: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (channels, more):
        layers += [nn.Conv2d(before, more, 3, padding=1, bias=False), nn.BatchNorm2d(more)]
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


class Segmenter:
    """A saved U-Net: pictures of any size in, masks (0 or 255) of the same sizes out."""

    def __init__(self, path: str) -> None:
        self.model = UNet().to(device())
        self.model.load_state_dict(torch.load(path, map_location=device(), weights_only=True))
        self.model.eval()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"mask": [self.mask(pixels) for pixels in batch["picture"]]}

    def mask(self, pixels: np.ndarray) -> np.ndarray:
        height, width, _ = pixels.shape
        picture = torch.tensor(pixels, device=device()).permute(2, 0, 1)[None] / 255
        more = (0, -width % self.model.times, 0, -height % self.model.times)
        padded = nn.functional.pad(picture, more, "replicate")
        with torch.inference_mode():
            inside = self.model(padded)[0, 0, :height, :width] > 0
        return inside.to(torch.uint8).mul(255).cpu().numpy()


def read(images: str, masks: str) -> dd.DataFrame:
    """Pictures, and as `truth` the masks of their names; where there is none, a failed cell."""
    frame = named(di.read_images(images, on_error="null"), images)
    return frame.assign(truth=pictures_at(frame, masks + "/{}.png"))


def pictures_at(frame: dd.DataFrame, path: str) -> dd.Series:
    """A picture for each row, in the file that `path` makes of the row's name."""
    return di.images(frame["name"].map(path.format, meta=("path", str)), on_error="null")


def train(frame: dd.DataFrame, epochs: int) -> UNet:
    def drawn(image: dd.Series) -> dd.Series:
        crop = image.img.random_resized_crop(SIZE, SIZE, scale=(0.25, 1), key=frame["name"])
        return crop.img.random_flip(key=frame["name"])

    both = frame.assign(
        image=drawn(frame["image"].img.convert("RGB")).img.normalize((0, 0, 0), (1, 1, 1)),
        truth=drawn(frame["truth"].img.convert("L")),
    )
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a network is quicker on one, and pictures take the others
    model = UNet().to(device(), memory_format=torch.channels_last)
    dataset = both.img.to_torch("image", "truth", batch_size=8, channels_last=True, on_null="drop")
    loader = DataLoader(dataset, batch_size=None)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        losses = []
        for pictures, truth in loader:
            inside = (truth.to(device()) > 127).float()
            scores = model(pictures.to(device()))
            loss = nn.functional.binary_cross_entropy_with_logits(scores, inside)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1} of {epochs}: loss {sum(losses) / len(losses):.3f}")
    return model


def overlap(batch: dict[str, Any]) -> dict[str, Any]:
    """Intersection over union of masks."""
    pairs = [(mask > 127, truth > 127) for mask, truth in zip(*batch.values(), strict=True)]
    return {"iou": [(a & b).sum() / max(1, (a | b).sum()) for a, b in pairs]}


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, "demo-segmentation")
    options.add_argument("--images", help="folder of pictures to train on (default: coins)")
    options.add_argument("--masks", help="folder of their masks")
    options.add_argument("--others", help="folder of pictures to cut things out of")
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--each", type=int, default=80, help="default pictures to train on")
    given = options.parse_args(arguments)
    if (given.images is None) != (given.masks is None) or (given.images is None) != (
        given.others is None
    ):
        options.error("--images, --masks and --others go together")
    return start(run, given)


def run(options: argparse.Namespace) -> list[Path]:
    images, masks, others = options.images, options.masks, options.others
    if images is None:
        made = save_coins(options.output / "coins", options.each)
        images, masks, others = map(str, made)
    model = train(read(images, masks), options.epochs)
    saved = options.output / "model.pt"
    saved.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), saved)

    # the pictures as they are, then beside each its mask, then the two together
    frame = read(others, masks)
    results = options.output / "segmented"
    extension = frame["path"].str.extract(r"(\.[^./]+)$", expand=False)
    frame.assign(file=frame["name"] + extension).img.write_images(
        results, "image", filename="file", mode="overwrite"
    )
    found = frame.assign(picture=frame["image"].img.convert("RGB")).img.map_batches(
        Segmenter,
        columns="picture",
        fn_constructor_args=[str(saved.resolve())],
        num_gpus=gpus(),
        meta={"mask": "image[uint8]"},
    )
    result = found.assign(file=found["name"] + "_mask.png").img.write_images(
        results, "mask", filename="file", mode="append"
    )
    print(f"masks: {result}")
    both = frame.assign(mask=pictures_at(frame, f"{results}/{{}}_mask.png"))
    overlay = both["image"].img.convert("RGB").img.draw_mask(both["mask"], "red", 0.5)
    both.assign(overlay=overlay, file=both["name"] + "_overlay.png").img.write_images(
        results, "overlay", filename="file", mode="append"
    )

    judged = both[["name", "mask", "truth"]]
    scores = judged.img.map_batches(overlap, columns=["mask", "truth"], meta={"iou": float})
    for name, iou in scores[["name", "iou"]].compute().itertuples(index=False):
        told = "no mask" if pd.isna(iou) else f"intersection over union with its mask {iou:.2f}"
        print(f"  {name}: {told}")
    return [saved, results]


if __name__ == "__main__":
    sys.exit(main())
