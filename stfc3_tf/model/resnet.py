"""Encoders: fully convolutional ResNet-18s that turn frames into feature maps.

Every encoder has a `cell_grid`, which states the pixels on which the cells of its outputs are
centred, and `statistics`, the colour statistics for the normalisation of its frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import functools
import types
from typing import Any, NamedTuple

import gin
import tensorflow as tf

from stfc3_tf import checks, errors
from stfc3_tf.model import layers
from stfc3_tf.views.geometry import CellGrid

OUTPUTS = ('stage3', 'stage4', 'head')
PADDINGS = ('zero', 'reflect', 'replicate', 'none')
HEAD_ORDERS = ('activation_first', 'norm_first')
BLOCKS_PER_STAGE = 2
# Channels at most, of stage 1 and of the head: settings that come with a model may not ask for a
# network that fills the memory.
WIDEST = 512
WIDEST_HEAD = 16384
_LARGEST_STRIDE = 64


class Statistics(NamedTuple):
    """Mean and standard deviation of red, green and blue, for colours in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


STATISTICS = {
    'imagenet': Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    'cifar10': Statistics((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}


def normalise_frames(frames: tf.Tensor, statistics: Statistics) -> tf.Tensor:
    """Return (frames / 255 - mean) / std, the input of an encoder.

    Args:
      frames: uint8 [..., height, width, 3], RGB.
      statistics: those of the encoder (`Encoder.statistics`).

    Returns:
      float32 of the same shape.
    """
    scale = [1.0 / (255.0 * std) for std in statistics.std]
    offset = [mean / std for mean, std in zip(statistics.mean, statistics.std)]
    return tf.cast(frames, tf.float32) * tf.constant(scale) - tf.constant(offset)


def unit_features(
    encoder: Encoder, frames: tf.Tensor, output: str, training: bool = False
) -> tf.Tensor:
    """Return the features of frames at unit length.

    Args:
      encoder: the encoder.
      frames: uint8 [batch, height, width, 3], RGB.
      output: one of the encoder's outputs, see `OUTPUTS`.
      training: whether batch normalisation uses the statistics of the batch.

    Returns:
      float32 [batch, rows, columns, channels], L2-normalised over the channels.
    """
    maps = encoder(normalise_frames(frames, encoder.statistics), training=training)[output]
    return tf.math.l2_normalize(maps, axis=-1)


def exported_features(encoder: Encoder) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a compiled function of frames, the features of stage 3 that exports have.

    See `unit_features` for the arguments of that function and for what it returns.
    """
    return tf.function(functools.partial(unit_features, encoder, output='stage3'))


class Encoder(tf.keras.Model):
    """A functional model from normalised frames to feature maps, named as in `OUTPUTS`.

    Input: float32 [batch, height, width, 3], any size. Outputs: a dictionary of float32
    [batch, rows, columns, channels] under every precision policy, not L2-normalised.

    Args:
      inputs: the symbolic input.
      outputs: the symbolic outputs, by name.
      cell_grid: output name -> `CellGrid`.
      statistics: the `Statistics` for the normalisation of its frames.
      name: of the model.
      arguments: the arguments of `resnet18` that build it again; empty for other encoders.
    """

    def __init__(
        self,
        inputs: tf.Tensor,
        outputs: Mapping[str, tf.Tensor],
        cell_grid: Mapping[str, CellGrid],
        statistics: Statistics,
        name: str,
        arguments: Mapping[str, Any] | None = None,
    ):
        super().__init__(inputs=inputs, outputs=dict(outputs), name=name)
        # Proxies, because Keras would track plain dictionaries and tuples in every checkpoint.
        self._cell_grid = types.MappingProxyType(dict(cell_grid))
        self._statistics = types.MappingProxyType(statistics._asdict())
        self._arguments: Mapping[str, Any] = types.MappingProxyType(dict(arguments or {}))

    @property
    def cell_grid(self) -> Mapping[str, CellGrid]:
        """The grid of each output, by name."""
        return self._cell_grid

    @property
    def statistics(self) -> Statistics:
        """The mean and standard deviation of colours."""
        return Statistics(**self._statistics)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of `resnet18`, by name; empty for other encoders."""
        return self._arguments

    def part(self, layer: str) -> tf.keras.Model:
        """Return the layers, shared with this model, that one output needs."""
        return tf.keras.Model(self.input, self.output[layer])


def resnet_cell_grid(padding: str, stage_strides: Sequence[int]) -> dict[str, CellGrid]:
    """Return the centres of the receptive fields of a ResNet of basic blocks.

    A convolution of kernel size k with p cells of padding before the first cell moves the centre of
    the first cell by ((k - 1) / 2 - p) cells of its input. With PyTorch's padding, p = (k - 1) / 2:
    cell 0 stays on pixel 0. Without padding, every convolution moves it inwards.

    In a strided block without padding, the shortcut is centred half a cell before the branch. The
    grid is that of the branch, which has the larger receptive field.

    Args:
      padding: one of `PADDINGS`.
      stage_strides: the stride of each stage; the stem has stride 4.

    Returns:
      Output name -> `CellGrid`.
    """
    first, stride = 0.0, 1
    grid = {}
    for stage, convolutions in enumerate(_kernels_and_strides(stage_strides)):
        for kernel_size, layer_stride in convolutions:
            if padding == 'none':
                first += (kernel_size - 1) / 2 * stride
            stride *= layer_stride
        grid[f'stage{stage}'] = CellGrid(first, stride)
    last = f'stage{len(stage_strides)}'
    return {'stage3': grid['stage3'], last: grid[last], 'head': grid[last]}


def _kernels_and_strides(stage_strides: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Return (kernel size, stride) of the stem and of the branch convolutions of each stage."""
    stages = [[(7, 2), (3, 2)]]
    for stride in stage_strides:
        stages.append([(3, stride)] + [(3, 1)] * (2 * BLOCKS_PER_STAGE - 1))
    return stages


def _basic_block(
    make: layers.LayerMaker, x: tf.Tensor, name: str, filters: int, stride: int
) -> tf.Tensor:
    """Apply two 3x3 convolutions and a shortcut, projected if the shape changes."""
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = make.conv(x, f'{name}.downsample.0', filters, 1, stride)
        shortcut = make.norm(shortcut, f'{name}.downsample.1')
    shortcut = make.crop_shortcut(shortcut, f'{name}.crop', stride)
    x = make.conv(x, f'{name}.conv1', filters, 3, stride)
    x = make.relu(make.norm(x, f'{name}.bn1'), f'{name}.relu1')
    x = make.norm(make.conv(x, f'{name}.conv2', filters, 3), f'{name}.bn2')
    return make.relu(make.add(x, shortcut, f'{name}.add'), f'{name}.relu2')


def _stages(
    make: layers.LayerMaker, x: tf.Tensor, width: int, stage_strides: Sequence[int]
) -> list[tf.Tensor]:
    """Return the outputs of all stages."""
    x = make.relu(make.norm(make.conv(x, 'conv1', width, 7, 2), 'bn1'), 'relu')
    x = make.max_pool(x, 'maxpool')
    outputs = []
    for stage, stride in enumerate(stage_strides):
        for block in range(BLOCKS_PER_STAGE):
            name = f'layer{stage + 1}.{block}'
            x = _basic_block(make, x, name, width * 2**stage, stride if block == 0 else 1)
        outputs.append(x)
    return outputs


def _head(make: layers.LayerMaker, x: tf.Tensor, widths: Sequence[int], order: str) -> tf.Tensor:
    """Apply the projection head: two 1x1 convolutions, a norm and an activation between them.

    With one width it is a single 1x1 convolution.
    """
    if len(widths) == 1:
        return make.pointwise(x, 'head.conv0', widths[0], use_bias=True)
    hidden, embedding = widths
    if order == 'activation_first':
        x = make.pointwise(x, 'head.conv0', hidden, use_bias=True)
        x = make.norm(make.relu(x, 'head.relu'), 'head.bn')
    else:
        x = make.pointwise(x, 'head.conv0', hidden, use_bias=False)
        x = make.relu(make.norm(x, 'head.bn'), 'head.relu')
    return make.pointwise(x, 'head.conv1', embedding, use_bias=False)


def _named_outputs(maps: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the maps as float32 outputs, by name."""
    return {
        name: tf.keras.layers.Activation('linear', dtype='float32', name=name)(features)
        for name, features in maps.items()
    }


@gin.configurable
def resnet18(
    padding: str = 'reflect',
    width: int = 64,
    stage_strides: Sequence[int] = (1, 2, 1, 1),
    head_widths: Sequence[int] = (2048, 512),
    head_order: str = 'activation_first',
    statistics: str = 'imagenet',
    dtype_policy: str = 'float32',
    synchronised_norm: bool = False,
    seed: int = 0,
    name: str = 'resnet18',
) -> Encoder:
    """Build a ResNet-18 with a projection head (paper, section 3) that equals PyTorch's.

    Args:
      padding: of the convolutions: 'zero', 'reflect', 'replicate', or 'none' for valid convolutions
        with centrally cropped shortcuts (Table 1). Max-pooling ignores the padding.
      width: channels of the stem and of stage 1; each later stage doubles them.
      stage_strides: after the stem, which has stride 4: the default gives stride 8. With three
        strides the head follows stage 3. Propagation does not use stage 4, 60 % of the arithmetic.
      head_widths: channels of the hidden layer and of the embedding, or of the embedding alone.
      head_order: 'activation_first' (conv, ReLU, norm, conv, the authors' code) or 'norm_first'.
      statistics: a name in `STATISTICS`.
      dtype_policy: Keras precision policy of every layer, such as 'mixed_bfloat16'.
      synchronised_norm: whether batch statistics are taken over all replicas in training.
      seed: of the initial weights; no other random state affects them.
      name: of the model.

    Returns:
      An `Encoder`. With padding, an output has ceil(height / stride) rows.

    Raises:
      errors.UserError: a setting has an unknown value.
    """
    arguments = {
        'padding': padding,
        'width': width,
        'stage_strides': tuple(stage_strides),
        'head_widths': tuple(head_widths),
        'head_order': head_order,
        'statistics': statistics,
    }
    _check_arguments(arguments)
    make = layers.LayerMaker(padding, dtype_policy, synchronised_norm, seed)
    frames = tf.keras.Input([None, None, 3], name='frames')
    stages = _stages(make, frames, width, stage_strides)
    maps = {f'stage{number}': stage for number, stage in enumerate(stages, 1) if number >= 3}
    maps['head'] = _head(make, stages[-1], head_widths, head_order)
    grid = resnet_cell_grid(padding, stage_strides)
    return Encoder(frames, _named_outputs(maps), grid, STATISTICS[statistics], name, arguments)


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise `UserError` unless `resnet18` can take the arguments."""
    if len(arguments['stage_strides']) not in (3, 4):
        raise errors.UserError(
            f'resnet18.stage_strides = {arguments["stage_strides"]}: give one number for each of 4 '
            'stages, or of 3 to leave stage 4 out.'
        )
    for stride in arguments['stage_strides']:
        checks.whole_number('resnet18.stage_strides', stride, most=_LARGEST_STRIDE)
    if len(arguments['head_widths']) not in (1, 2):
        raise errors.UserError(
            f'resnet18.head_widths = {arguments["head_widths"]}: give (hidden, embedding), or '
            '(embedding,) for a linear head.'
        )
    _check_width('resnet18.width', arguments['width'], WIDEST)
    for width in arguments['head_widths']:
        _check_width('resnet18.head_widths', width, WIDEST_HEAD)
    checks.one_of('resnet18.padding', arguments['padding'], PADDINGS)
    checks.one_of('resnet18.head_order', arguments['head_order'], HEAD_ORDERS)
    checks.one_of('resnet18.statistics', arguments['statistics'], STATISTICS)


def _check_width(setting: str, width: Any, most: int) -> None:
    checks.whole_number(setting, width)
    if width > most:
        raise errors.UserError(f'{setting}={width}: give at most {most} channels.')


@gin.configurable
def keras_cv_backbone(
    head_widths: tuple[int, int] = (2048, 512),
    head_order: str = 'activation_first',
    statistics: str = 'imagenet',
    dtype_policy: str = 'float32',
    synchronised_norm: bool = False,
    seed: int = 0,
    name: str = 'keras_cv_resnet18',
) -> Encoder:
    """Build KerasCV's ResNet-18, of the same depth but with SAME padding, with the projection head.

    SAME padding of a picture with even sides puts all zeros right and below. Therefore the cells
    have other centres than those of `resnet18`: in the first block of stage 2, the shortcut is
    centred on pixel 8i + 3 and the branch on pixel 8i + 7. The grid states the middle, 8i + 5.

    Args:
      head_widths: see `resnet18`.
      head_order: see `resnet18`.
      statistics: see `resnet18`.
      dtype_policy: see `resnet18`.
      synchronised_norm: must be false: KerasCV normalises on each replica.
      seed: of the head. KerasCV draws the weights of the backbone from Keras' global seed.
      name: of the model.

    Returns:
      An `Encoder`; frames are padded below and at the right to multiples of 8 pixels.

    Raises:
      errors.UserError: a setting has an unknown value, or keras-cv is not installed.
    """
    checks.one_of('keras_cv_backbone.head_order', head_order, HEAD_ORDERS)
    checks.one_of('keras_cv_backbone.statistics', statistics, STATISTICS)
    if synchronised_norm:
        raise errors.UserError(
            'keras_cv_backbone has no synchronised norms: train on one device, or use resnet18.'
        )
    frames = tf.keras.Input([None, None, 3], name='frames')
    with _global_policy(dtype_policy):
        stages = _keras_cv_stages(layers.PadToMultiple(8, name='pad')(frames))
    make = layers.LayerMaker('zero', dtype_policy, synchronised_norm, seed)
    head = _head(make, stages[-1], head_widths, head_order)
    maps = dict(zip(OUTPUTS, [*stages, head]))
    grid = dict.fromkeys(OUTPUTS, CellGrid(5.0, 8))
    return Encoder(frames, _named_outputs(maps), grid, STATISTICS[statistics], name)


def _keras_cv_stages(frames: tf.Tensor) -> list[tf.Tensor]:
    """Return the outputs of stages 3 and 4 of KerasCV's ResNet-18."""
    # Imported here because it takes a second and nothing else needs it.
    try:
        from keras_cv.models import ResNetBackbone
    except ImportError as error:
        raise errors.UserError(
            'keras_cv_backbone needs keras-cv 0.9, which runs only with TensorFlow 2.15 on Python '
            '3.9 to 3.11: install stfc3-tf[addons] there, or use resnet18.'
        ) from error
    backbone = ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=[BLOCKS_PER_STAGE] * 4,
        stackwise_strides=[1, 2, 1, 1],
        include_rescaling=False,
        block_type='basic_block',
        input_tensor=frames,
    )
    levels = backbone.pyramid_level_inputs
    return [backbone.get_layer(levels[level]).output for level in ('P4', 'P5')]


@contextlib.contextmanager
def _global_policy(policy: str) -> Iterator[None]:
    """Set Keras' global precision policy in a block, for layers that cannot be given one."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
