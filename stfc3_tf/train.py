"""Trains an encoder: `python -m stfc3_tf.train --gin_file=gin/stfc3.gin --data=VIDEOS --model_dir=DIR`.

A run that finds a checkpoint in its model folder goes on from it; a run told to stop (SIGTERM, SIGINT)
writes one first and ends with status 128 + the signal. At the end the encoder is exported to `DIR/saved_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
import os

from absl import flags

from stfc3_tf import command, errors, training

_GIN_FILE = flags.DEFINE_multi_string(
    'gin_file', [], 'Configuration file; later ones override earlier ones.'
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "Single settings, such as 'train.steps = 100'; they override the files."
)
_DATA = flags.DEFINE_string(
    'data',
    None,
    'Videos to train on: TFRecord shards (glob or folder), a folder of frame folders, or a folder or '
    'glob of video files. Without it, built-in synthetic scenes are used.',
)
_MODEL_DIR = flags.DEFINE_string(
    'model_dir',
    None,
    'Folder of the run: configuration, checkpoints, TensorBoard logs, exported encoder. '
    'Default: runs/ and the name of the configuration file.',
)


def main(_: Sequence[str]) -> int | None:
    """Reads flags and configuration, then trains."""
    if not _GIN_FILE.value:
        raise errors.UserError(
            'Give a configuration: --gin_file=gin/stfc3.gin, or gin/quickstart.gin for a first look.'
        )
    command.parse_gin(_GIN_FILE.value, _GIN_BINDINGS.value)
    name = os.path.splitext(os.path.basename(_GIN_FILE.value[-1]))[0]
    stopped_by = training.train(
        _MODEL_DIR.value or os.path.join('runs', name), _DATA.value, _GIN_BINDINGS.value
    )
    return 128 + stopped_by if stopped_by else 0


if __name__ == '__main__':
    command.run(main)
