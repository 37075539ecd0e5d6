"""GPU-accelerated transformations: pictures cropped, mirrored, turned and tinted at random, on
workers with a GPU, where PyTorch makes them what a network takes."""

import made
import numpy as np
import torch

import daskimg as di


class Normalizer:
    def __init__(self, mean, std):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.mean = torch.tensor(mean, device=self.device).view(3, 1, 1)
        self.std = torch.tensor(std, device=self.device).view(3, 1, 1)

    def __call__(self, batch):
        pictures = batch["image"].to(self.device).permute(0, 3, 1, 2) / 255
        return {"transformed_image": (pictures - self.mean) / self.std}


def transform(images, flip=0.5, degrees=10, jitter=0.2):
    image = images.image.img.convert("RGB").img.resize(224, 224).img.random_flip(flip)
    image = image.img.random_rotation(degrees).img.color_jitter(jitter, jitter)
    return images.assign(image=image).img.map_batches(
        Normalizer,
        columns=["image"],
        batch_format="torch",
        fn_constructor_args=[[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]],
        concurrency=4,
        num_gpus=1,
        meta={"transformed_image": "tensor[float32, 3x224x224]"},
    )


def main():
    folder = made.pictures()
    images = di.read_images(folder, files_per_partition=2)
    with made.workers(gpus=4):
        mirrored = transform(images, flip=1, degrees=0, jitter=0).compute()
        drawn, again = transform(images).compute(), transform(images).compute()
    for found, pixels in zip(
        mirrored.transformed_image, made.opened(folder, "RGB").values(), strict=True
    ):
        expected = made.square(pixels, 224)[:, ::-1] / 255
        expected = (expected - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        assert np.abs(found - expected.transpose(2, 0, 1)).max() < 1.5 / 255 / 0.224
    first, second = (np.stack(table.transformed_image.to_numpy()) for table in (drawn, again))
    assert np.array_equal(first, second)  # a row's draws are its own, on any worker
    assert not np.array_equal(first, np.stack(mirrored.transformed_image.to_numpy()))


if __name__ == "__main__":
    main()
