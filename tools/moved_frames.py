r"""Measure how well features find a cell again in the same frame, moved or magnified.

    python -m tools.moved_frames --frames='BENCHMARKS/davis/JPEGImages/480p/*/00000.jpg' \
        --saved_model=stfc3=OUT/rows/stfc3/seed-0/train/saved_model \
        --untrained=none --gin_bindings='resnet18.width = 32'

The command prints one line per encoder: the share of cells that are found after each move, then the
mean cosine between cells at distances of 1 to 6 cells, downwards and to the right. How a cell is
searched for is explained in `stfc3_tf.benchmarks.moved_frames`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from absl import flags
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.benchmarks import baselines, moved_frames
from stfc3_tf.commands import command, configuration, idle_flags, named_paths
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.serving import saved_model
from stfc3_tf.storage import images

_FRAMES = flags.DEFINE_string(
    'frames', None, 'Glob of pictures, 480 pixels high or more.', required=True
)
_SAVED_MODEL = flags.DEFINE_multi_string('saved_model', [], 'NAME=SAVED_MODEL')
_UNTRAINED = flags.DEFINE_list(
    'untrained', [], 'Paddings of untrained encoders that are measured too.'
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "A setting of the untrained encoders, such as 'resnet18.width = 32'"
)


def encoders(saved_models: Mapping[str, str]) -> Iterator[tuple[str, FeatureExtractor]]:
    """Yield names and encoders one by one, so that only one is in memory.

    Args:
      saved_models: name -> path.
    """
    for padding in _UNTRAINED.value:
        yield f'untrained, {padding}', baselines.RandomFeatures(padding=padding)
    for name, path in saved_models.items():
        yield name, saved_model.load(path)


def main(_: Sequence[str]) -> None:
    """Print one line per encoder."""
    if not _UNTRAINED.value:
        idle_flags.refuse('A run without --untrained', [_GIN_BINDINGS])
        if not _SAVED_MODEL.value:
            raise errors.UserError('Give --saved_model or --untrained.')
    saved_models = named_paths.read(_SAVED_MODEL, 'NAME=SAVED_MODEL')
    configuration.parse_gin([], _GIN_BINDINGS.value)
    paths = sorted(tf.io.gfile.glob(_FRAMES.value))
    if not paths:
        raise errors.UserError(f'--frames={_FRAMES.value}: there is no such file.')
    frames = list(images.read_frames(paths))
    print('', *moved_frames.HEADINGS, sep=' | ')
    for name, encoder in encoders(saved_models):
        figures = moved_frames.measure(encoder, frames)
        print(name, *(f'{figure:.2f}' for figure in figures), sep=' | ', flush=True)
    configuration.check_bindings_used(_GIN_BINDINGS.value)


if __name__ == '__main__':
    command.run(main)
