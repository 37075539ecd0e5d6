"""PyTorch: a dataset of tensors for a training loop, or for a DataLoader with workers."""

import made
import numpy as np
import torch

import daskimg as di


def train(processed_images, model):
    torch_dataset = processed_images.img.to_torch(
        feature_columns=["processed_image"], label_column="label", batch_size=32
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for images, labels in torch_dataset:
        optimizer.zero_grad()
        outputs = model(images)
        loss = torch.nn.functional.cross_entropy(outputs, labels)
        loss.backward()
        optimizer.step()
    return model


def main():
    folder = made.pictures()
    images = di.read_images(folder, partitioning=["category"])
    small = images.image.img.convert("RGB").img.resize(32, 32).img.normalize(0, 1)
    label = (images.category.astype(str) == "toys").astype("int64")
    trained = train(images.assign(processed_image=small, label=label), small_model())

    expected = made.opened(folder, "RGB")
    squares = np.stack([made.square(pixels, 32) for pixels in expected.values()]) / 255
    features = torch.tensor(squares.transpose(0, 3, 1, 2), dtype=torch.float32)
    labels = torch.tensor([int(name.startswith("toys")) for name in expected])
    model = small_model()  # the same step by hand, of the six pictures
    torch.nn.functional.cross_entropy(model(features), labels).backward()
    for found, start in zip(trained.parameters(), model.parameters(), strict=True):
        assert (found != start).any()
        assert torch.allclose(found, start - 0.01 * start.grad, atol=1e-4)


def small_model():
    torch.manual_seed(0)
    layers = [torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2)]
    return torch.nn.Sequential(*layers)


if __name__ == "__main__":
    main()
