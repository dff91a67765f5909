"""Figures for papers: what encoders see, what they are worth, how they were trained.

Each function draws one figure and writes it to a path whose ending (.pdf, .svg, .png) is its
format; the file is whole or absent. Models are rows by name, in the order given.
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
