"""Train a classifier on folders of pictures, save it, and run the saved file on other pictures.

The name of a folder is the label of its pictures. Training reads them through `to_torch` and a
DataLoader: each epoch in another order, each picture cropped, mirrored and tinted anew. The
weights are saved; then a `map_batches` stage loads the file, once a process, and labels pictures
that were held out.

    python examples/classification.py                          # four textures, from photographs
    python examples/classification.py --images train/ --held-out val/

`--images` and `--held-out` are folders with a folder for every label. Without `--held-out` a
fifth of the pictures is held out, the same fifth each time. The accuracy has to beat that of
always giving the most frequent label by `--margin`, else the script ends with 1.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import pandas as pd
import torch
from photographs import save_textures
from running import gpus, named, parser, start
from torch import nn
from torch.utils.data import DataLoader

import daskimg as di

try:
    from torchvision.transforms import v2
except ImportError:  # daskimg's own random ops are all the augmentation then
    v2 = None

SIZE = 64
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network(labels: int) -> nn.Module:
    """Three convolutions and a mean over the picture."""

    def block(channels: int, more: int) -> list[nn.Module]:
        convolution = nn.Conv2d(channels, more, 3, padding=1, bias=False)
        return [convolution, nn.BatchNorm2d(more), nn.ReLU(), nn.MaxPool2d(2)]

    blocks = [*block(3, 12), *block(12, 24), *block(24, 48)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, labels))


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


class Classifier:
    """A saved model: pictures in, their labels and how sure it is out."""

    def __init__(self, path: str) -> None:
        saved = torch.load(path, map_location=device(), weights_only=True)
        self.labels = saved["labels"]
        self.model = network(len(self.labels)).to(device())
        self.model.load_state_dict(saved["weights"])
        self.model.eval()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        pictures = batch["image"].to(device()).permute(0, 3, 1, 2)
        with torch.inference_mode():
            confidence, best = self.model(pictures).softmax(1).max(1)
        return {"predicted": [self.labels[n] for n in best.tolist()], "confidence": confidence}


def to_train_on(frame: dd.DataFrame, labels: Sequence[str]) -> dd.DataFrame:
    """Pictures that differ from epoch to epoch, and the number of their label."""
    numbers = {label: n for n, label in enumerate(labels)}
    image = frame["image"].img.convert("RGB")
    key = frame["name"]  # not the whole path: the same pictures wherever the folder lies
    image = image.img.random_resized_crop(SIZE, SIZE, scale=(0.3, 1.0), key=key)
    image = image.img.random_flip(key=key).img.color_jitter(0.3, 0.3, key=key)
    return frame.assign(
        image=image.img.normalize(MEAN, STD),
        label=frame["label"].astype(object).map(numbers, meta=("label", "int64")),
    )


def to_try(frame: dd.DataFrame) -> dd.DataFrame:
    image = frame["image"].img.convert("RGB").img.resize(SIZE, SIZE, fit="cover")
    return frame.assign(image=image.img.normalize(MEAN, STD))


def train(frame: dd.DataFrame, labels: Sequence[str], epochs: int, workers: int) -> nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a network is quicker on one, and pictures take the others
    model = network(len(labels)).to(device(), memory_format=torch.channels_last)
    augment = nn.Identity() if v2 is None else v2.RandomErasing(p=0.25)
    dataset = to_train_on(frame, labels).img.to_torch("image", "label", 16, channels_last=True)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        losses, right = [], []
        for pictures, label in loader:
            pictures, label = pictures.to(device()), label.to(device())
            scores = model(augment(pictures))
            loss = nn.functional.cross_entropy(scores, label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            right += (scores.argmax(1) == label).tolist()
        print(
            f"epoch {epoch + 1} of {epochs}: {len(right):,} pictures, "
            f"loss {sum(losses) / len(losses):.3f}, accuracy {sum(right) / len(right):.2f}"
        )
    return model


def read(images: str, held_out: str | None) -> tuple[dd.DataFrame, dd.DataFrame]:
    """Two frames of pictures and labels: to train on, and to try the model on."""
    frame = labelled(images)
    if held_out is not None:
        return frame, labelled(held_out)
    kept_back = frame["path"].map(in_the_fifth, meta=("path", bool))
    return frame[~kept_back], frame[kept_back]


def labelled(folder: str) -> dd.DataFrame:
    return named(di.read_images(folder, partitioning=["label"], on_error="null"), folder)


def in_the_fifth(path: str) -> bool:
    """One file in five, by its name: the same ones each time and everywhere."""
    return zlib.crc32(Path(path).name.encode()) % 5 == 0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, "demo-classification")
    options.add_argument("--images", help="folder of label folders (default: textures)")
    options.add_argument("--held-out", help="another one, to try the model on")
    options.add_argument("--epochs", type=int, default=8)
    options.add_argument("--each", type=int, default=60, help="default pictures of a label")
    options.add_argument("--workers", type=int, default=0, help="processes of the DataLoader")
    options.add_argument("--margin", type=float, default=0.2, help="over chance (default 0.2)")
    given = options.parse_args(arguments)
    return start(run, given) or int(not given.beaten)


def run(options: argparse.Namespace) -> list[Path]:
    images, held_out = options.images, options.held_out
    if images is None:
        images, held_out = map(str, save_textures(options.output / "pictures", options.each))
    seen, unseen = read(images, held_out)
    # a picture that cannot be read has no place in a training set
    seen = seen[seen["image"].img.check().isna()]
    labels = sorted(seen["label"].astype(object).unique().compute())
    print(f"labels: {', '.join(labels)}")
    model = train(seen, labels, options.epochs, options.workers)
    saved = options.output / "model.pt"
    saved.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"labels": labels, "weights": model.state_dict()}, saved)

    predictions = options.output / "predictions"
    to_try(unseen).img.map_batches(
        Classifier,
        columns="image",
        batch_size=64,
        batch_format="torch",
        fn_constructor_args=[str(saved.resolve())],
        num_gpus=gpus(),
        meta={"predicted": str, "confidence": "float32"},
    ).img.write_parquet(predictions, mode="overwrite")
    options.beaten = judge(pd.read_parquet(predictions), options.margin)
    return [saved, predictions]


def judge(found: pd.DataFrame, margin: float) -> bool:
    """Print how the predictions compare with the labels; whether they beat chance by `margin`."""
    label = found["label"].astype(str)
    readable = found["predicted"].notna()
    accuracy = (label == found["predicted"])[readable].mean()
    chance = label[readable].value_counts(normalize=True).max()
    print(pd.crosstab(label, found["predicted"]).to_string())
    print(
        f"{len(found):,} pictures held out, {int((~readable).sum())} of them not readable: "
        f"accuracy {accuracy:.2f}, chance {chance:.2f} (the most frequent label), "
        f"to be beaten by {margin:.2f}: {'yes' if accuracy >= chance + margin else 'NO'}"
    )
    return bool(accuracy >= chance + margin)


if __name__ == "__main__":
    sys.exit(main())
