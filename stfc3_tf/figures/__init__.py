"""Figures for papers: features, affinities, labels, scores and training curves.

Each function draws one figure and writes it to a path, whose ending (.pdf, .svg, .png) chooses the
format. The file is complete or absent. Models are named rows, in the given order.
"""

from stfc3_tf.figures.curves import loss_against_quality, training_curves
from stfc3_tf.figures.encoders import affinities, feature_video, features
from stfc3_tf.figures.overlays import labels
from stfc3_tf.figures.results import scores

__all__ = [
    'affinities',
    'feature_video',
    'features',
    'labels',
    'loss_against_quality',
    'scores',
    'training_curves',
]
