r"""Export label propagation of whole clips as XLA's HLO, for a machine without TensorFlow.

    python tools/gpu_step/export_propagation.py --output=480p --grid=60,107
    python tools/gpu_step/export_propagation.py --output=720p --grid=90,160 \
        --gin_bindings='PropagationSettings.radius = 18'
    python tools/gpu_step/export_propagation.py --output=480p_4 --grid=60,107 --videos=4

Each folder then holds what `run_propagation.py` needs beside JAX: the function
`compiled_propagator.propagate_clips` for features of one shape, and the labels that the propagator
for CPUs gives for random features of that shape.
"""

import dataclasses
import json
import os

from absl import flags
import numpy as np
from random_video import random_video
import tensorflow as tf

from stfc3_tf.commands import command, configuration
from stfc3_tf.propagation import compiled_propagator, propagator
from stfc3_tf.propagation.settings import PropagationSettings

_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to.', required=True)
_GRID = flags.DEFINE_list('grid', ['60', '107'], 'Rows and columns of the features.')
_VIDEOS = flags.DEFINE_integer('videos', 1, 'Number of videos at once.')
_FRAMES = flags.DEFINE_integer('frames', 40, 'Frames of each video.')
_CHANNELS = flags.DEFINE_integer('channels', 256, 'Channels of the features.')
_LABELS = flags.DEFINE_integer('labels', 3, 'Number of labels.')
_TF32 = flags.DEFINE_bool(
    'tf32', False, 'Let GPUs round products to TensorFloat-32: faster, and not exact.'
)
_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "Settings of the propagation, e.g. 'PropagationSettings.radius = 18'."
)


def last_labels(shape, videos, labels, settings):
    """Return the labels of the videos' last frames, float32 [videos, rows, columns, labels].

    Args:
      shape: of the features of a video.
      videos: how many.
      labels: number of labels.
      settings: of the propagation.
    """
    last = []
    for number in range(videos):
        features, first_labels = random_video(number, shape, labels)
        *_, carried = propagator.propagate_stream(features, first_labels, settings)
        last.append(carried.numpy())
    return np.stack(last)


def main(_):
    """Write propagation.hlo, propagation.json and last_labels.npy."""
    configuration.parse_gin([], _BINDINGS.value)
    settings = PropagationSettings()
    tf.config.experimental.enable_tensor_float_32_execution(_TF32.value)
    videos, labels = _VIDEOS.value, _LABELS.value
    shape = _FRAMES.value, *map(int, _GRID.value), _CHANNELS.value
    clips = tf.function(
        lambda features, first: compiled_propagator.propagate_clips(features, first, settings),
        jit_compile=True,
        autograph=False,
    )
    lowered = clips.experimental_get_compiler_ir(
        tf.TensorSpec([videos, *shape]), tf.TensorSpec([videos, *shape[1:3], labels])
    )
    os.makedirs(_OUTPUT.value, exist_ok=True)
    with open(os.path.join(_OUTPUT.value, 'propagation.hlo'), 'wb') as file:
        file.write(lowered(stage='hlo_serialized'))
    about = {'shape': shape, 'videos': videos, 'labels': labels, 'tf32': _TF32.value}
    with open(os.path.join(_OUTPUT.value, 'propagation.json'), 'w') as file:
        json.dump({**about, 'settings': dataclasses.asdict(settings)}, file, indent=1)
    expected = last_labels(shape, videos, labels, settings)
    np.save(os.path.join(_OUTPUT.value, 'last_labels.npy'), expected)


if __name__ == '__main__':
    command.run(main)
