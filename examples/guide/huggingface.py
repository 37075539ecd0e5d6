"""Hugging Face: a model and its image processor, from a folder.

python examples/guide/huggingface.py [FOLDER OF A MODEL]
"""

import sys

import made
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification

import daskimg as di


class Labeller:
    def __init__(self, folder):
        self.processor = AutoImageProcessor.from_pretrained(folder)
        self.model = AutoModelForImageClassification.from_pretrained(folder)

    def __call__(self, batch):
        inputs = self.processor(images=list(batch["rgb"]), return_tensors="pt")
        with torch.no_grad():
            outputs = self.model(**inputs)
        return {"huggingface_prediction": outputs.logits.argmax(-1)}


def label(images, folder):
    images = images.assign(rgb=images.image.img.convert("RGB"))
    return images.img.map_batches(Labeller, columns="rgb", fn_constructor_args=[folder])


def main(model=None):
    model, folder = model or small_model(), made.pictures()
    table = label(di.read_images(folder), model).compute()
    labeller = Labeller(model)
    expected = labeller({"rgb": [*made.opened(folder, "RGB").values()]})
    assert list(table.huggingface_prediction) == expected["huggingface_prediction"].tolist()
    assert list(table.columns) == ["path", "image", "huggingface_prediction"]


def small_model(folder="vit"):
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = ViTConfig(image_size=32, patch_size=8, intermediate_size=48, num_labels=5, **sizes)
    config.initializer_range = 0.5
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main(*sys.argv[1:])
