"""Train an encoder.

    python -m stfc3_tf.train --gin_file=gin/stfc3.gin --data=VIDEOS --model_dir=DIR

A run that finds a checkpoint in its model folder resumes from it, if settings and data are those
that it began with. A run that is stopped (SIGTERM, SIGINT) writes a checkpoint first and ends with
the status 128 + signal. At the end the encoder is exported to `DIR/saved_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
import importlib.util
import os

from absl import flags

from stfc3_tf import errors
from stfc3_tf.commands import command, configuration
from stfc3_tf.training import run, settings

_GIN_FILE = flags.DEFINE_multi_string(
    'gin_file', [], 'Configuration file; later ones override earlier ones'
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "Single settings, such as 'train.steps = 100'; they override the files"
)
_DATA = flags.DEFINE_string(
    'data',
    None,
    'Videos to train on: TFRecord shards (glob or folder), a folder of frame folders, or a folder '
    'or glob of video files. Without it, built-in synthetic scenes are used.',
)
_MODEL_DIR = flags.DEFINE_string(
    'model_dir',
    None,
    'Folder of the run: configuration, checkpoints, TensorBoard logs, exported encoder. Only one '
    'training at a time may write there, which is not checked on object stores. '
    'Default: runs/ and the name of the configuration file.',
)
_ALLOW_CHANGES = flags.DEFINE_boolean(
    'allow_changes',
    False,
    'Resume also if settings that change what is learnt, or the data, differ from those that the '
    'run began with. The differences are logged and kept in DIR/stream.json.',
)


def main(_: Sequence[str]) -> int | None:
    """Read flags and configuration, then train."""
    if not _GIN_FILE.value:
        raise errors.UserError(
            'Give a configuration: --gin_file=gin/stfc3.gin, or gin/quickstart.gin for a first '
            'look.'
        )
    if importlib.util.find_spec('tensorboard') is None:
        raise errors.UserError(
            'Training writes logs for TensorBoard: pip install "stfc3-tf[train]"'
        )
    configuration.parse_gin(_GIN_FILE.value, _GIN_BINDINGS.value)
    name = os.path.splitext(os.path.basename(_GIN_FILE.value[-1]))[0]
    stopped_by = run.train(
        settings.Settings(),
        _MODEL_DIR.value or os.path.join('runs', name),
        _DATA.value,
        _GIN_BINDINGS.value,
        _ALLOW_CHANGES.value,
    )
    return 128 + stopped_by if stopped_by else 0


if __name__ == '__main__':
    command.run(main)
