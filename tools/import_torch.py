"""Turn a PyTorch ResNet-18 into a SavedModel, without PyTorch.

    python -m tools.import_torch --checkpoint=FILE.pth --output_dir=OUT

No code that the checkpoint contains is run.
"""

import collections
from collections.abc import Sequence
import pathlib

from absl import flags, logging

from stfc3_tf.commands import command
from stfc3_tf.model import resnet, torch_weights
from stfc3_tf.serving import saved_model
from stfc3_tf.storage import files

_CHECKPOINT = flags.DEFINE_string(
    'checkpoint',
    None,
    'File of torch.save, or safetensors: the ResNet-18 of torchvision, CRW, STFC3 or VFS.',
    required=True,
)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder of the SavedModel; an older one is replaced.', required=True
)
_LAYER = flags.DEFINE_enum(
    'layer', 'stage3', resnet.OUTPUTS, 'The output that becomes the features.'
)
_PADDING = flags.DEFINE_enum(
    'padding',
    None,
    resnet.PADDINGS,
    'Padding of the convolutions in training. By default zero if the checkpoint holds the '
    'classifier of torchvision or the names of VFS, otherwise reflect (CRW, STFC3).',
)
_STATISTICS = flags.DEFINE_enum(
    'statistics',
    'imagenet',
    list(resnet.STATISTICS),
    'Colour statistics that normalise the frames.',
)
_PREFIX = flags.DEFINE_string(
    'prefix', None, "What the ResNet's names begin with, if the checkpoint holds several."
)


def origin(path: str) -> dict[str, str]:
    """Return what the export records of the checkpoint: its name and its SHA-256."""
    digest = files.digest(path).hex()
    return {'checkpoint': pathlib.PurePath(path).name, 'checkpoint_sha256': digest}


def summary(names: Sequence[str]) -> str:
    """Count names by their first two parts: the state of an optimiser has hundreds of names."""
    groups = collections.Counter('.'.join(name.split('.')[:2]) for name in names)
    return ', '.join(f'{group} ({count})' for group, count in groups.items())


def main(_: Sequence[str]) -> None:
    """Read the checkpoint, export the encoder, and log which arrays were not used."""
    imported, unused = torch_weights.load_encoder(
        _CHECKPOINT.value, _LAYER.value, _PADDING.value, _STATISTICS.value, _PREFIX.value
    )
    if unused:
        logging.info('Not needed for %s: %s', _LAYER.value, summary(unused))
    saved_model.export(imported, _OUTPUT_DIR.value, _LAYER.value, origin(_CHECKPOINT.value))
    print(f'Wrote {_OUTPUT_DIR.value}')


if __name__ == '__main__':
    command.run(main)
