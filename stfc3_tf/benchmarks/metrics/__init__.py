"""The metrics of all benchmarks, each defined once, for NumPy arrays.

Modules:

    masks       J and F of DAVIS, and their statistics over a sequence
    pck         share of correct key points, by CRW's rule and over all visible joints
    landmarks   errors of landmarks, their cumulative curve, failures
    tapvid      TAP-Vid's accuracy and Jaccard of tracked points with occlusion
    points      shared functions

The metrics are independent of models, files and data sets. Points are (x, y) in pixels, with pixel
centres at integers. Shares are fractions in [0, 1]. A point is "lost" if a method gave it no
position (`is_lost`).
"""

from stfc3_tf.benchmarks.metrics.landmarks import (
    area_under_cumulative_error,
    box_diagonal,
    cumulative_error,
    failure_rate,
    interocular_distance,
    mean_point_error,
    root_mean_square_error,
)
from stfc3_tf.benchmarks.metrics.masks import (
    SequenceStatistics,
    boundary,
    boundary_accuracy,
    region_similarity,
    scored_frames,
    sequence_statistics,
)
from stfc3_tf.benchmarks.metrics.pck import (
    PCK_THRESHOLDS,
    PckTally,
    pck_crw,
    pck_sizes,
    pck_visible,
)
from stfc3_tf.benchmarks.metrics.points import is_lost, point_errors
from stfc3_tf.benchmarks.metrics.tapvid import (
    TAPVID_SIZE,
    TAPVID_THRESHOLDS,
    TapVidScores,
    mean_scores,
    tapvid_scores,
)

__all__ = [
    'PCK_THRESHOLDS',
    'TAPVID_SIZE',
    'TAPVID_THRESHOLDS',
    'PckTally',
    'SequenceStatistics',
    'TapVidScores',
    'area_under_cumulative_error',
    'boundary',
    'boundary_accuracy',
    'box_diagonal',
    'cumulative_error',
    'failure_rate',
    'interocular_distance',
    'is_lost',
    'mean_point_error',
    'mean_scores',
    'pck_crw',
    'pck_sizes',
    'pck_visible',
    'point_errors',
    'region_similarity',
    'root_mean_square_error',
    'scored_frames',
    'sequence_statistics',
    'tapvid_scores',
]
