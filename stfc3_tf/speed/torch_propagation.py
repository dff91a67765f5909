"""Label propagation in PyTorch as published scripts do it: what this project is compared with.

Every cell is compared with every cell of all context frames; a mask lowers the similarities beyond
the window, from which the first frame is exempt.
"""

from __future__ import annotations

import torch

_BEYOND = -1e10


def window_mask(rows: int, columns: int, radius: float) -> torch.Tensor:
    """Return what is added to similarities: float32 [cells, cells], 0 in a disc around each cell.

    Args:
      rows: of the grid.
      columns: of the grid.
      radius: of the disc, in cells.
    """
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    cells = torch.stack([y, x], dim=-1).reshape(-1, 2).float()
    return torch.where(torch.cdist(cells, cells) < radius, 0.0, _BEYOND)


def propagate(
    query: torch.Tensor,
    context: torch.Tensor,
    labels: torch.Tensor,
    mask: torch.Tensor,
    chunk: int,
    top_k: int = 10,
    temperature: float = 0.05,
) -> torch.Tensor:
    """Return the labels of one frame.

    Args:
      query: float32 [cells, channels], L2-normalised over channels.
      context: float32 [frames, cells, channels], likewise, the first frame first.
      labels: float32 [frames, cells, labels], of the context frames.
      mask: see `window_mask`.
      chunk: cells of the query that are computed at once.
      top_k: number of candidates kept per cell.
      temperature: of the softmax over their similarities.

    Returns:
      float32 [cells, labels].
    """
    keys, known = context.flatten(0, 1), labels.flatten(0, 1)
    found = []
    for queries, allowed in zip(query.split(chunk), mask.split(chunk)):
        similarity = queries @ keys.T
        similarity.unflatten(1, labels.shape[:2])[:, 1:] += allowed[:, None]
        values, cells = similarity.topk(top_k, dim=1)
        weights = torch.softmax(values / temperature, dim=1)
        found.append((weights[..., None] * known[cells]).sum(1))
    return torch.cat(found)
