"""The loss of STFC3's palindrome walks in PyTorch: what this project is compared with.

It is `model/objective.py` with the default settings, for two tracks.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

_TEMPERATURE, _EPSILON = 0.05, 1e-7
_STRIDE = 8


def loss(
    encode: Callable[[torch.Tensor], torch.Tensor],
    views: torch.Tensor,
    view_from_frame: torch.Tensor,
    edge_dropout: float = 0.1,
) -> torch.Tensor:
    """Return the loss of a batch.

    Args:
      encode: maps frames, uint8 [frames, size, size, 3], to feature maps, float32
        [frames, channels, rows, columns].
      views: uint8 [batch, 2, time, size, size, 3].
      view_from_frame: float32 [batch, 2, 3, 3].
      edge_dropout: probability that a walk may not take an edge.

    Returns:
      float32 [].
    """
    maps = functional.normalize(encode(views.flatten(0, 2)), dim=1)
    forward, backward = maps.unflatten(0, views.shape[:3]).unbind(1)
    positions = _positions(view_from_frame, maps.shape[-2:], views.shape[3])
    start = functional.normalize(_warped(forward[:, :-1], positions), dim=2)
    visible = _warped(torch.ones_like(forward[:, :1, :1]), positions).flatten(1) > 0.5
    returns = _return_probabilities(_nodes(start), _nodes(forward), _nodes(backward), edge_dropout)
    cost = sum(-torch.log(probability + _EPSILON) * visible for probability in returns)
    return cost.mean()


def _positions(
    view_from_frame: torch.Tensor, cells: tuple[int, int], view_size: int
) -> torch.Tensor:
    """Return where the cells of the backward grid are on the forward grid.

    Args:
      view_from_frame: float32 [batch, 2, 3, 3].
      cells: rows and columns of the grids.
      view_size: height and width of the views, pixels.

    Returns:
      float32 [batch, rows, columns, 2], x and y, which are -1 at the first cell and 1 at the last.
    """
    first, step = 1 / view_size - 1, 2 * _STRIDE / view_size
    rows, columns = (first + step * torch.arange(count) for count in cells)
    y, x = torch.meshgrid(rows, columns, indexing='ij')
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    forward, backward = view_from_frame.unbind(1)
    forward_from_backward = forward @ torch.linalg.inv(backward)
    mapped = torch.einsum('bij,rcj->brci', forward_from_backward, points)[..., :2]
    last = torch.tensor([cells[1] - 1, cells[0] - 1])
    return (mapped - first) / step * 2 / last - 1


def _warped(track: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Return a track [batch, time, channels, rows, columns] read at positions of its grid."""
    grid = positions.repeat_interleave(track.shape[1], dim=0)
    read = functional.grid_sample(track.flatten(0, 1), grid, align_corners=True)
    return read.unflatten(0, track.shape[:2])


def _nodes(track: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the nodes [batch, nodes, channels] of each frame of a track."""
    return track.flatten(3).transpose(2, 3).unbind(1)


def _return_probabilities(
    start: tuple[torch.Tensor, ...],
    forward: tuple[torch.Tensor, ...],
    backward: tuple[torch.Tensor, ...],
    edge_dropout: float,
) -> list[torch.Tensor]:
    """Return the probabilities [batch, nodes] that the walk from each frame returns.

    Args:
      start: [batch, nodes, channels] of each frame but the last, on the backward grid.
      forward: likewise of each frame.
      backward: likewise.
      edge_dropout: see `loss`.
    """

    def step(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        similarity = source @ target.transpose(1, 2) / _TEMPERATURE
        if edge_dropout:
            similarity = similarity.masked_fill(torch.rand_like(similarity) < edge_dropout, -1e20)
        return similarity.softmax(-1)

    rest, found = step(forward[-1], backward[-1]), []
    for frame in reversed(range(len(start))):
        rest = rest @ step(backward[frame + 1], backward[frame])
        leaving = step(start[frame], forward[frame + 1])
        # The diagonal of leaving @ rest.
        found.append((leaving * rest.transpose(1, 2)).sum(-1))
        if frame:
            rest = step(forward[frame], forward[frame + 1]) @ rest
    return found
