"""Encoders: fully convolutional ResNet-18s that turn frames into feature maps.

A feature map is only as useful as the knowledge of where its cells stand. Every encoder made here
therefore carries `cell_grid`, the pixel each cell of each of its outputs is centred on, and
`statistics`, the colour statistics its frames are normalised with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import types
from typing import NamedTuple

import gin
import tensorflow as tf

from stfc3_tf import checks, errors
from stfc3_tf import layers
from stfc3_tf.geometry import CellGrid

OUTPUTS = ('stage3', 'stage4', 'head')
PADDINGS = ('zero', 'reflect', 'replicate', 'none')
HEAD_ORDERS = ('activation_first', 'norm_first')
BLOCKS_PER_STAGE = 2


class Statistics(NamedTuple):
    """Mean and standard deviation of red, green and blue, for colours in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


STATISTICS = {
    'imagenet': Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    'cifar10': Statistics((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}


def normalise_frames(frames: tf.Tensor, statistics: Statistics) -> tf.Tensor:
    """Colours as the encoder wants them: (frames / 255 - mean) / std.

    Args:
      frames: uint8 [..., height, width, 3], RGB.
      statistics: those of the encoder the frames are meant for (`encoder.statistics`).

    Returns:
      float32 of the same shape.
    """
    scale = [1.0 / (255.0 * std) for std in statistics.std]
    offset = [mean / std for mean, std in zip(statistics.mean, statistics.std)]
    return tf.cast(frames, tf.float32) * tf.constant(scale) - tf.constant(offset)


class Encoder(tf.keras.Model):
    """A functional model from normalised frames to feature maps, named as in `OUTPUTS`.

    Input: float32 [batch, height, width, 3], any size. Outputs: a dictionary of float32
    [batch, rows, columns, channels] under every precision policy, not L2-normalised.

    Attributes:
      cell_grid: output name -> `CellGrid`.
      statistics: the `Statistics` its frames are normalised with.
    """

    def __init__(
        self,
        inputs: tf.Tensor,
        outputs: Mapping[str, tf.Tensor],
        cell_grid: Mapping[str, CellGrid],
        statistics: Statistics,
        name: str,
    ):
        super().__init__(inputs=inputs, outputs=dict(outputs), name=name)
        # Proxies, because Keras would track plain dictionaries and tuples in every checkpoint.
        self._cell_grid = types.MappingProxyType(dict(cell_grid))
        self._statistics = types.MappingProxyType(statistics._asdict())

    @property
    def cell_grid(self) -> Mapping[str, CellGrid]:
        return self._cell_grid

    @property
    def statistics(self) -> Statistics:
        return Statistics(**self._statistics)


def resnet_cell_grid(padding: str, stage_strides: Sequence[int]) -> dict[str, CellGrid]:
    """Centres of the receptive fields of a ResNet of basic blocks.

    A convolution of kernel size k, stride s and p cells of padding before the first moves the centre
    of the first cell by ((k - 1) / 2 - p) cells of its input. With PyTorch's padding p = (k - 1) / 2,
    so cell 0 stays on pixel 0 for good; without padding every convolution moves it inwards. (In a
    strided block without padding the shortcut stands half a cell before the branch; the centre named
    is that of the branch, which is the larger.)
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
    """(kernel size, stride) of the stem and of the branch convolutions of each stage."""
    stages = [[(7, 2), (3, 2)]]
    for stride in stage_strides:
        stages.append([(3, stride)] + [(3, 1)] * (2 * BLOCKS_PER_STAGE - 1))
    return stages


def _basic_block(
    make: layers.LayerMaker, x: tf.Tensor, name: str, filters: int, stride: int
) -> tf.Tensor:
    """Two 3x3 convolutions and a shortcut, projected where the shape changes (He et al. 2016)."""
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
    """The outputs of the stages."""
    x = make.relu(make.norm(make.conv(x, 'conv1', width, 7, 2), 'bn1'), 'relu')
    x = make.max_pool(x, 'maxpool')
    outputs = []
    for stage, stride in enumerate(stage_strides):
        for block in range(BLOCKS_PER_STAGE):
            name = f'layer{stage + 1}.{block}'
            x = _basic_block(make, x, name, width * 2**stage, stride if block == 0 else 1)
        outputs.append(x)
    return outputs


def _head(make: layers.LayerMaker, x: tf.Tensor, widths: tuple[int, int], order: str) -> tf.Tensor:
    """The projection head: two 1x1 convolutions with a norm and an activation between them."""
    hidden, embedding = widths
    if order == 'activation_first':
        x = make.pointwise(x, 'head.conv0', hidden, use_bias=True)
        x = make.norm(make.relu(x, 'head.relu'), 'head.bn')
    else:
        x = make.pointwise(x, 'head.conv0', hidden, use_bias=False)
        x = make.relu(make.norm(x, 'head.bn'), 'head.relu')
    return make.pointwise(x, 'head.conv1', embedding, use_bias=False)


def _named_outputs(maps: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """float32 outputs by name, whatever the precision they were computed in."""
    return {
        name: tf.keras.layers.Activation('linear', dtype='float32', name=name)(features)
        for name, features in maps.items()
    }


@gin.configurable
def resnet18(
    padding: str = 'reflect',
    width: int = 64,
    stage_strides: Sequence[int] = (1, 2, 1, 1),
    head_widths: tuple[int, int] = (2048, 512),
    head_order: str = 'activation_first',
    statistics: str = 'imagenet',
    dtype_policy: str = 'float32',
    synchronised_norm: bool = False,
    seed: int = 0,
    name: str = 'resnet18',
) -> Encoder:
    """ResNet-18 with a projection head, arithmetically PyTorch's (paper, section 3; He et al. 2016).

    Args:
      padding: what the convolutions see beyond the border: 'zero', 'reflect', 'replicate', or 'none'
        for valid convolutions with centrally cropped shortcuts (Table 1). Max-pooling never counts
        what is beyond the border.
      width: channels of the stem and of stage 1; each later stage doubles them.
      stage_strides: of each stage; the stem has stride 4, so the default makes 8 in all. With three,
        stage 4 is left out and the head stands on stage 3: propagation uses no stage 4, which takes
        60 % of the arithmetic at full width.
      head_widths: channels of the hidden layer and of the embedding.
      head_order: 'activation_first' = conv, ReLU, norm, conv (the authors' code); 'norm_first' =
        conv, norm, ReLU, conv.
      statistics: a name in `STATISTICS`.
      dtype_policy: Keras precision policy of every layer, such as 'mixed_bfloat16'.
      synchronised_norm: whether batch statistics are taken over all replicas in training.
      seed: of the initial weights, which depend on nothing else.
      name: of the model.

    Returns:
      An `Encoder`. With padding, an output has ceil(height / stride) rows.

    Raises:
      errors.UserError: a setting names none of its choices.
    """
    if len(stage_strides) not in (3, 4):
        raise errors.UserError(
            f'resnet18.stage_strides = {tuple(stage_strides)}: give one number for each of 4 '
            'stages, or of 3 to leave stage 4 out.'
        )
    checks.one_of('resnet18.padding', padding, PADDINGS)
    checks.one_of('resnet18.head_order', head_order, HEAD_ORDERS)
    checks.one_of('resnet18.statistics', statistics, STATISTICS)
    make = layers.LayerMaker(padding, dtype_policy, synchronised_norm, seed)
    frames = tf.keras.Input([None, None, 3], name='frames')
    stages = _stages(make, frames, width, stage_strides)
    maps = {f'stage{number}': stage for number, stage in enumerate(stages, 1) if number >= 3}
    maps['head'] = _head(make, stages[-1], head_widths, head_order)
    grid = resnet_cell_grid(padding, stage_strides)
    return Encoder(frames, _named_outputs(maps), grid, STATISTICS[statistics], name)


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
    """KerasCV's ResNet-18 with the projection head: the same depth, with TensorFlow's SAME padding.

    SAME padding of an even picture puts all zeros right and below, so that cells stand
    elsewhere than `resnet18`'s: where stage 2 strides, its shortcut is centred on pixel
    8i + 3 and its branch on pixel 8i + 7; the grid names the middle, 8i + 5.

    Args:
      head_widths, head_order, statistics, dtype_policy, seed, name: as of `resnet18`; the seed is the
        head's, and the backbone's weights are drawn by KerasCV from Keras' global seed.
      synchronised_norm: must be false, KerasCV's norms are taken on each replica.

    Returns:
      An `Encoder`; frames are padded below and at the right to multiples of 8 pixels.

    Raises:
      errors.UserError: a setting is not one of its choices.
    """
    checks.one_of('keras_cv_backbone.head_order', head_order, HEAD_ORDERS)
    checks.one_of('keras_cv_backbone.statistics', statistics, STATISTICS)
    if synchronised_norm:
        raise errors.UserError(
            'keras_cv_backbone has no synchronised norms: train on one device, or use resnet18.'
        )
    # Only here: it costs a second to import, and nothing else needs it.
    from keras_cv.models import ResNetBackbone

    frames = tf.keras.Input([None, None, 3], name='frames')
    with _global_policy(dtype_policy):
        backbone = ResNetBackbone(
            stackwise_filters=[64, 128, 256, 512],
            stackwise_blocks=[BLOCKS_PER_STAGE] * 4,
            stackwise_strides=[1, 2, 1, 1],
            include_rescaling=False,
            block_type='basic_block',
            input_tensor=layers.PadToMultiple(8, name='pad')(frames),
        )
    levels = backbone.pyramid_level_inputs
    stages = [backbone.get_layer(levels[level]).output for level in ('P4', 'P5')]
    make = layers.LayerMaker('zero', dtype_policy, synchronised_norm, seed)
    head = _head(make, stages[-1], head_widths, head_order)
    maps = dict(zip(OUTPUTS, [*stages, head]))
    grid = dict.fromkeys(OUTPUTS, CellGrid(5.0, 8))
    return Encoder(frames, _named_outputs(maps), grid, STATISTICS[statistics], name)


@contextlib.contextmanager
def _global_policy(policy: str) -> Iterator[None]:
    """Sets Keras' precision policy, for layers that take no other."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
