"""Turns a PyTorch ResNet-18 into a SavedModel; PyTorch is not needed, and no code of the file is run.

python -m tools.import_torch --checkpoint=FILE.pth --output_dir=OUT
"""

import collections
from collections.abc import Sequence
import hashlib
import pathlib

from absl import flags
from absl import logging
import tensorflow as tf

from stfc3_tf import command
from stfc3_tf import encoder
from stfc3_tf import serving
from stfc3_tf import torch_weights

_CHECKPOINT = flags.DEFINE_string(
    'checkpoint', None, "torch.save file: torchvision's ResNet-18, CRW's or STFC3's.", required=True
)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder of the SavedModel; an older one is replaced.', required=True
)
_LAYER = flags.DEFINE_enum('layer', 'stage3', encoder.OUTPUTS, 'Whose output the features are.')
_PADDING = flags.DEFINE_enum(
    'padding',
    None,
    encoder.PADDINGS,
    "What the convolutions were trained with. By default 'zero' for torchvision's networks (told by "
    "their classifier), 'reflect' for others (CRW, STFC3).",
)
_STATISTICS = flags.DEFINE_enum(
    'statistics',
    'imagenet',
    list(encoder.STATISTICS),
    'Colour statistics frames are normalised with.',
)
_PREFIX = flags.DEFINE_string(
    'prefix', None, "What the ResNet's names begin with, if the checkpoint holds several."
)


def origin(path: str) -> dict[str, str]:
    """What the export records of the checkpoint: its name and a digest to know it by."""
    with tf.io.gfile.GFile(path, 'rb') as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    return {'checkpoint': pathlib.PurePath(path).name, 'checkpoint_sha256': digest}


def summary(names: Sequence[str]) -> str:
    """Names counted by their first two parts, because an optimiser's state has hundreds."""
    groups = collections.Counter('.'.join(name.split('.')[:2]) for name in names)
    return ', '.join(f'{group} ({count})' for group, count in groups.items())


def main(_: Sequence[str]) -> None:
    """Reads the checkpoint, exports the encoder, says what was left over."""
    imported, unused = torch_weights.load_encoder(
        _CHECKPOINT.value, _LAYER.value, _PADDING.value, _STATISTICS.value, _PREFIX.value
    )
    if unused:
        logging.info('Not needed for %s: %s', _LAYER.value, summary(unused))
    serving.export(imported, _OUTPUT_DIR.value, _LAYER.value, origin(_CHECKPOINT.value))
    print(f'Wrote {_OUTPUT_DIR.value}')


if __name__ == '__main__':
    command.run(main)
