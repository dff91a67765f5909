"""STFC3's ResNet-18 in PyTorch, as it is usually written there: what this project is compared with.

Its parameters have the names of `model/torch_weights.py`, so that both can have the same weights.
Only `tools.benchmark --against=pytorch` imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

_BLOCKS_PER_STAGE = 2
# Of ImageNet's colours.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ResNet18(nn.Module):
    """Maps normalised frames [batch, 3, height, width] to [batch, channels, rows, columns].

    Args:
      width: channels of the stem and of stage 1; each later stage doubles them.
      head_widths: channels of the hidden layer and of the embedding.
      stage_strides: after the stem, which has stride 4.
    """

    def __init__(
        self,
        width: int = 64,
        head_widths: tuple[int, int] = (2048, 512),
        stage_strides: Sequence[int] = (1, 2, 1, 1),
    ):
        super().__init__()
        self.conv1 = _convolution(3, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        channels = [width, *(width * 2**stage for stage in range(4))]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(channels[stage], channels[stage + 1], stride)
            for stage, stride in enumerate(stage_strides)
        )
        self.head = _Head(channels[-1], *head_widths)

    def stage3(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the output of stage 3."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(frames))), 3, 2, 1)
        return self.layer3(self.layer2(self.layer1(x)))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the output of the head."""
        return self.head(self.layer4(self.stage3(frames)))


class _Block(nn.Module):
    """Two convolutions and a shortcut, projected if the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = _convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _convolution(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(branch)) + self.downsample(x))


class _Head(nn.Module):
    """The projection head."""

    def __init__(self, inputs: int, hidden: int, embedding: int):
        super().__init__()
        self.conv0, self.bn = nn.Conv2d(inputs, hidden, 1), nn.BatchNorm2d(hidden)
        self.conv1 = nn.Conv2d(hidden, embedding, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv1(self.bn(functional.relu(self.conv0(x))))


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    more = [_Block(outputs, outputs, 1) for _ in range(_BLOCKS_PER_STAGE - 1)]
    return nn.Sequential(_Block(inputs, outputs, stride), *more)


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode='reflect', bias=False)


def normalised(frames: torch.Tensor) -> torch.Tensor:
    """Return frames uint8 [batch, height, width, 3] as the network takes them."""
    colours = (frames.float() / 255 - torch.tensor(_MEAN)) / torch.tensor(_STD)
    return colours.permute(0, 3, 1, 2)
