"""Calls of PyTorch that are timed, each as it is usually written ('plain') and tuned.

Tuned means memory in the order channels last, the fused optimiser, `torch.inference_mode` for
features, and propagation in chunks that fit the cache; in mixed bfloat16 also `torch.autocast`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import itertools

import numpy as np
import torch
from torch.nn import functional

from stfc3_tf.speed import propagation as made
from stfc3_tf.speed import torch_network, torch_propagation, torch_walk

TUNED = 'tuned'
# Cells of the query at once, tuned.
_CHUNK = 256
_CONTEXT, _RADIUS = 20, 12.0


def training_step(view_size: int, batch: int, precision: str, variant: str) -> Callable[[], float]:
    """Return a training step on clips that are in memory (T = 4, full width, Adam).

    Args:
      view_size: height and width of the views, pixels.
      batch: clips per step.
      precision: a Keras policy. The plain variant computes in float32 in any case.
      variant: 'plain' or 'tuned'.

    Returns:
      A function that makes a step and returns its loss.
    """
    network = _network(variant)
    fused = {'fused': True} if variant == TUNED else {}
    optimiser = torch.optim.Adam(network.parameters(), 1e-4, **fused)
    half = variant == TUNED and precision == 'mixed_bfloat16'

    def encode(frames: torch.Tensor) -> torch.Tensor:
        with torch.autocast('cpu', torch.bfloat16, enabled=half):
            return network(_arranged(torch_network.normalised(frames), variant)).float()

    views = torch.randint(0, 256, (batch, 2, 4, view_size, view_size, 3), dtype=torch.uint8)
    view_from_frame = torch.eye(3).repeat(batch, 2, 1, 1)

    def step() -> float:
        optimiser.zero_grad()
        loss = torch_walk.loss(encode, views, view_from_frame)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def features(height: int, width: int, variant: str) -> Callable[[], np.ndarray]:
    """Return the computation of the stage-3 features of a frame, at full width in float32.

    Args:
      height: of the frame, pixels.
      width: of the frame, pixels.
      variant: 'plain' or 'tuned'.

    Returns:
      A function that returns float32 [1, rows, columns, channels].
    """
    network = _network(variant).eval()
    frame = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8)
    return lambda: _features(network, frame, variant).numpy()


def propagation(rows: int, columns: int, channels: int, variant: str) -> Callable[[], np.ndarray]:
    """Return the propagation of two labels to a frame, with the full context of CRW's protocol.

    Args:
      rows: of the feature map.
      columns: of the feature map.
      channels: of the features.
      variant: 'plain' or 'tuned'.

    Returns:
      A function that returns float32 [rows * columns, 2].
    """
    query, context, labels, _ = map(
        torch.from_numpy, made.full_context(rows, columns, channels, context=_CONTEXT)
    )
    mask = torch_propagation.window_mask(rows, columns, _RADIUS)
    given = query.flatten(0, 1), context.flatten(1, 2), labels.flatten(1, 2), mask
    return lambda: _labels(*given, variant).numpy()


def frames_to_masks(
    frames: Sequence[np.ndarray], first: np.ndarray, variant: str
) -> Callable[[], np.ndarray]:
    """Return the tracking of one more frame, from its pixels to its mask, with a full context.

    Args:
      frames: uint8 [height, width, 3], at least as many as the context; shown again and again.
      first: uint8 [height, width], the mask of the first frame.
      variant: 'plain' or 'tuned'.

    Returns:
      A function that returns the next mask, uint8 [height, width].
    """
    masks = _masks(_network(variant).eval(), frames, first, variant)
    return lambda: next(masks)


def _masks(
    network: torch_network.ResNet18,
    frames: Sequence[np.ndarray],
    first: np.ndarray,
    variant: str,
) -> Iterator[np.ndarray]:
    """Yield the masks of the frames after the context, whose labels are all those of the first."""
    shown = (torch.from_numpy(frame)[None] for frame in itertools.cycle(frames))
    maps = [_features(network, next(shown), variant) for _ in range(1 + _CONTEXT)]
    rows, columns = maps[0].shape[1:3]
    mask = torch_propagation.window_mask(rows, columns, _RADIUS)
    known = functional.one_hot(torch.from_numpy(first).long()).permute(2, 0, 1)[None].float()
    known = functional.interpolate(known, (rows, columns), mode='bilinear')
    context, labels = [each.flatten(0, 2) for each in maps], [known[0].flatten(1).T] * len(maps)
    for frame in shown:
        query = _features(network, frame, variant).flatten(0, 2)
        found = _labels(query, torch.stack(context), torch.stack(labels), mask, variant)
        context, labels = [context[0], *context[2:], query], [labels[0], *labels[2:], found]
        soft = found.T.reshape(1, -1, rows, columns)
        drawn = functional.interpolate(soft, first.shape, mode='bilinear')
        yield drawn[0].argmax(0).byte().numpy()


def _network(variant: str) -> torch_network.ResNet18:
    network = torch_network.ResNet18()
    return network.to(memory_format=torch.channels_last) if variant == TUNED else network


def _arranged(frames: torch.Tensor, variant: str) -> torch.Tensor:
    """Return [batch, channels, height, width] in the variant's order of memory."""
    if variant == TUNED:
        return frames.contiguous(memory_format=torch.channels_last)
    return frames.contiguous()


def _features(network: torch_network.ResNet18, frame: torch.Tensor, variant: str) -> torch.Tensor:
    """Return [1, rows, columns, channels], L2-normalised over channels."""
    with torch.inference_mode() if variant == TUNED else torch.no_grad():
        maps = network.stage3(_arranged(torch_network.normalised(frame), variant))
        return functional.normalize(maps, dim=1).permute(0, 2, 3, 1).contiguous()


def _labels(
    query: torch.Tensor,
    context: torch.Tensor,
    labels: torch.Tensor,
    mask: torch.Tensor,
    variant: str,
) -> torch.Tensor:
    """Propagate; the plain variant compares all cells of the query at once."""
    chunk = _CHUNK if variant == TUNED else len(query)
    with torch.inference_mode() if variant == TUNED else torch.no_grad():
        return torch_propagation.propagate(query, context, labels, mask, chunk)
