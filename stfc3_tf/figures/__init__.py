"""Figures for papers: features, affinities, labels, scores, training curves and speed.

Each function draws one figure and writes it to a path, whose ending (.pdf, .svg, .png) chooses the
format. The file is complete or absent. Models are named rows, in the given order.

Modules:

    encoders                      features as colours, affinities
    overlays, benchmark_labels    predicted and true labels, and their reader
    results                       scores of several evaluations
    curves, events                training curves, and the reader of TensorBoard's files
    speed                         how the time of propagation grows
    page                          fonts, sizes and the file of every figure
    pictures                      pictures without axes, also for TensorBoard
    lettering                     text in any script
    stretch                       frames chosen from a part of a video
"""

from stfc3_tf.figures.curves import loss_against_quality, training_curves
from stfc3_tf.figures.encoders import affinities, feature_video, features
from stfc3_tf.figures.overlays import labels
from stfc3_tf.figures.results import scores
from stfc3_tf.figures.speed import speed_curves

__all__ = [
    'affinities',
    'feature_video',
    'features',
    'labels',
    'loss_against_quality',
    'scores',
    'speed_curves',
    'training_curves',
]
