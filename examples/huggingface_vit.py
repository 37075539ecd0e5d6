"""Label pictures with a Vision Transformer of Hugging Face, from a folder on this machine.

The model's own image processor prepares the pictures, decoded at full size; model and processor
are loaded once a process, from the folder alone. Pictures and what the model says of them are
written as Parquet that Hugging Face datasets reads, and that is read back here.

    python examples/huggingface_vit.py --model vit-base-patch16-224/ --images photos/

`--model` is a folder as `save_pretrained` writes it (config.json, model.safetensors,
preprocessor_config.json). Without it a tiny model is made from a configuration, with random
weights: it runs the same way, and what it says means nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import pandas as pd
import torch
from photographs import PHOTOGRAPHS, save_photographs
from running import gpus, parser, start

import daskimg as di


class Labeller:
    """A model of a folder: pictures in, the best label, its probability and all scores out."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        model = AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
        self.model = model.eval().to(self.device)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        pictures = list(batch["picture"])
        inputs = self.processor(
            images=pictures, input_data_format="channels_last", return_tensors="pt"
        )
        with torch.inference_mode():
            scores = self.model(**inputs.to(self.device)).logits
        probability, best = scores.softmax(1).max(1)
        names = self.model.config.id2label
        labels = [names[n] for n in best.tolist()]
        return {"label": labels, "probability": probability, "scores": scores}


def make_model(folder: Path) -> Path:
    """A ViT of two small layers with random weights, and its image processor."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    labels = [Path(name).stem for name in PHOTOGRAPHS]
    config = ViTConfig(
        image_size=64,
        patch_size=8,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        initializer_range=0.2,
        id2label=dict(enumerate(labels)),
        label2id={label: n for n, label in enumerate(labels)},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def label(frame: dd.DataFrame, model: Path) -> dd.DataFrame:
    """`frame` with `label`, `probability` and `scores` of each picture."""
    return frame.assign(picture=frame["image"].img.convert("RGB")).img.map_batches(
        Labeller,
        columns="picture",
        batch_size=32,
        fn_constructor_args=[str(model.resolve())],
        num_gpus=gpus(),
        meta={"label": str, "probability": "float32", "scores": "tensor[float32]"},
    )


def read_with_datasets(files: list[str], cache: Path) -> Any:
    """The Parquet files as a dataset of Hugging Face, or None where `datasets` is not installed."""
    try:
        from datasets import Dataset
    except ImportError:
        return None
    return Dataset.from_parquet(files, cache_dir=str(cache))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__, "demo-vit")
    options.add_argument("--images", help="folder of pictures (default: scikit-image's)")
    options.add_argument("--model", type=Path, help="folder of the model (default: a tiny one)")
    return start(run, options.parse_args(arguments))


def run(options: argparse.Namespace) -> list[Path]:
    images, model = options.images, options.model
    if images is None:
        images = str(save_photographs(options.output / "photographs"))
    if model is None:
        model = make_model(options.output / "model")
        print("a tiny model with random weights: what it says means nothing")
    elif not (model / "config.json").is_file():
        raise FileNotFoundError(f"--model {model}: no config.json there; expected a saved model")
    labelled = label(di.read_images(images, on_error="null"), model)
    table = options.output / "labelled"
    written = labelled.img.write_parquet(table, mode="overwrite")

    found = pd.read_parquet(table, columns=["path", "label", "probability"])
    for path, name, probability in found.itertuples(index=False):
        told = "not readable" if pd.isna(name) else f"{name} ({probability:.2f})"
        print(f"  {Path(path).name}: {told}")
    dataset = read_with_datasets(written.files, options.output / "cache")
    if dataset is None:
        print("Hugging Face datasets is not installed: not tried to read the Parquet with it")
    else:
        print(f"datasets reads {len(dataset)} rows, pictures as {dataset.features['image']}")
    return [model, table]


if __name__ == "__main__":
    sys.exit(main())
