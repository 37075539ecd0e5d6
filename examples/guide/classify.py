"""An image classification pipeline: PyTorch and a model that is loaded once a worker.

python examples/guide/classify.py [WEIGHTS] [PICTURES]
"""

import sys

import made
import numpy as np
import torch

import daskimg as di


def network():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 32, 7, stride=8),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(32, 1000),
    )


class Classifier:
    def __init__(self, weights):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = network().to(self.device).eval()
        self.model.load_state_dict(torch.load(weights, map_location=self.device))
        self.names = [f"class_{n}" for n in range(1000)]

    def __call__(self, batch):
        with torch.inference_mode():
            scores = self.model(batch["image"].to(self.device).permute(0, 3, 1, 2))
        confidence, best = scores.softmax(1).max(1)
        names = [self.names[n] for n in best.tolist()]
        return {"predicted_class": best, "confidence": confidence, "class_name": names}


def classify(images, weights):
    image = images.image.img.convert("RGB").img.resize(224, 224)
    image = image.img.normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return images.assign(image=image).img.map_batches(
        Classifier,
        columns=["image"],
        batch_format="torch",
        fn_constructor_args=[weights],
        concurrency=2,
        num_gpus=1,
        meta={"predicted_class": "int64", "confidence": "float32", "class_name": "string"},
    )


def main(weights=None, folder=None):
    weights, folder = weights or small_model(), folder or made.pictures()
    with made.workers(gpus=2):
        table = classify(di.read_images(folder, files_per_partition=2), weights).compute()
    classifier = Classifier(weights)
    mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    pictures = [made.square(pixels, 224) for pixels in made.opened(folder, "RGB").values()]
    inputs = ((np.stack(pictures) / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        expected, best = classifier.model(torch.from_numpy(inputs.copy())).softmax(1).max(1)
    assert np.allclose(table.confidence, expected, rtol=0.02)
    assert list(table.predicted_class) == best.tolist()
    assert list(table.class_name) == [f"class_{n}" for n in best.tolist()]


def small_model(path="weights.pt"):
    """Random weights, the same each time."""
    torch.manual_seed(0)
    torch.save(network().state_dict(), path)
    return path


if __name__ == "__main__":
    main(*sys.argv[1:])
