"""An image segmentation pipeline: a mask of each picture's own size, and pictures under masks."""

import made
import numpy as np
import torch

import daskimg as di


def network():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(64, 1, 1)
    )


class Segmenter:
    def __init__(self, weights):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = network().to(self.device).eval()
        self.model.load_state_dict(torch.load(weights, map_location=self.device))

    def __call__(self, batch):
        with torch.inference_mode():
            return {"segmentation_mask": [self.mask(image) for image in batch["rgb"]]}

    def mask(self, image):
        pixels = torch.from_numpy(image.copy()).to(self.device).permute(2, 0, 1) / 255
        return (self.model(pixels[None]).sigmoid()[0, 0] > 0.5).to(torch.uint8).cpu().numpy() * 255


def segment(images, weights):
    masks = images.assign(rgb=images.image.img.convert("RGB")).img.map_batches(
        Segmenter,
        columns=["rgb"],
        fn_constructor_args=[weights],
        concurrency=2,
        num_gpus=1,
        meta={"segmentation_mask": "image[uint8]"},
    )
    drawn = masks.image.img.convert("RGB").img.draw_mask(masks.segmentation_mask, (255, 0, 0), 0.5)
    return masks.assign(drawn=drawn)


def main():
    folder, weights = made.pictures(), small_model()
    with made.workers(gpus=2):
        table = segment(di.read_images(folder, files_per_partition=2), weights).compute()
    model = Segmenter(weights).model
    both = set()
    expected = made.opened(folder, "RGB").values()
    for pixels, row in zip(expected, table.itertuples(), strict=True):
        with torch.inference_mode():
            inputs = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255
            inside = (model(inputs)[0, 0] > 0).numpy()
        mask = row.segmentation_mask.to_numpy()
        assert mask.shape == pixels.shape[:2]
        assert ((mask == 255) == inside).mean() > 0.999
        assert set(np.unique(mask)) <= {0, 255}
        both |= {*np.unique(mask)}
        reddened = (row.drawn.to_numpy() != pixels).any(-1)
        assert not reddened[mask == 0].any()
    assert both == {0, 255}


def small_model(path="weights.pt"):
    """Random weights, the same each time."""
    torch.manual_seed(0)
    torch.save(network().state_dict(), path)
    return path


if __name__ == "__main__":
    main()
