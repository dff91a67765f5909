"""The agreement of two masks."""

from __future__ import annotations

import numpy as np


def smallest_overlap(mask: np.ndarray, other: np.ndarray) -> float:
    """Return the smallest IoU of the objects 1, 2, … of two masks; 1 if there are none."""
    from stfc3_tf.benchmarks import metrics

    objects = range(1, 1 + int(max(mask.max(), other.max())))
    return min((metrics.region_similarity(mask == n, other == n) for n in objects), default=1.0)
