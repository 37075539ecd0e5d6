"""The model of the task "classify": a small network of PyTorch with random weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class Classifier:
    """Called with (N, H, W, 3) uint8, gives (N,) int64."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = nn.Sequential(
            nn.Conv2d(3, 16, 7, stride=4),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        ).eval()

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray | torch.Tensor) -> np.ndarray:
        pixels = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2)
        return self.network(pixels.float() / 255).argmax(1).numpy()
