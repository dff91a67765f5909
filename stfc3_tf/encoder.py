"""Encoders: fully convolutional ResNet-18s that turn frames into feature maps.

A feature map is only as useful as the knowledge of where its cells stand. Every encoder made here
therefore carries `cell_grid`, the pixel each cell of each of its outputs is centred on, and
`statistics`, the colour statistics its frames are normalised with.
"""

from collections.abc import Callable, Mapping, Sequence
import types
from typing import NamedTuple
import zlib

import gin
import tensorflow as tf

from stfc3_tf import errors

OUTPUTS = ('stage3', 'stage4', 'head')
PADDINGS = ('zero', 'reflect', 'replicate', 'none')
HEAD_ORDERS = ('activation_first', 'norm_first')
BLOCKS_PER_STAGE = 2


class CellGrid(NamedTuple):
    """Where cells stand along one axis (rows and columns alike).

    Cell i is centred at pixel index `first + stride * i` of the encoder's input.
    """

    first: float
    stride: int


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
    """A functional model from normalised frames to the feature maps in `OUTPUTS`.

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


@tf.keras.utils.register_keras_serializable('stfc3_tf')
class EdgePadding2D(tf.keras.layers.Layer):
    """Pads rows and columns by `size` cells on each side, continuing the picture.

    Args:
      size: cells added on each side; an input with 'reflect' must have more rows and columns.
      mode: 'reflect' mirrors about the outermost cell (2 1 | 0 1 2), 'replicate' repeats it
        (0 0 | 0 1 2).
    """

    def __init__(self, size: int, mode: str, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.mode = mode

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.mode == 'reflect':
            return _pad(inputs, self.size, 'REFLECT')
        # A symmetric pad by one repeats the outermost cell; TensorFlow has no pad that repeats it
        # more often.
        for _ in range(self.size):
            inputs = _pad(inputs, 1, 'SYMMETRIC')
        return inputs

    def get_config(self) -> dict:
        return {**super().get_config(), 'size': self.size, 'mode': self.mode}


def _pad(inputs: tf.Tensor, size: int, mode: str) -> tf.Tensor:
    return tf.pad(inputs, [[0, 0], [size, size], [size, size], [0, 0]], mode)


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
    for stage, layers in enumerate(_kernels_and_strides(stage_strides)):
        for kernel_size, layer_stride in layers:
            if padding == 'none':
                first += (kernel_size - 1) / 2 * stride
            stride *= layer_stride
        grid[f'stage{stage}'] = CellGrid(first, stride)
    return {'stage3': grid['stage3'], 'stage4': grid['stage4'], 'head': grid['stage4']}


def _kernels_and_strides(stage_strides: Sequence[int]) -> list[list[tuple[int, int]]]:
    """(kernel size, stride) of the stem and of the branch convolutions of each stage."""
    stages = [[(7, 2), (3, 2)]]
    for stride in stage_strides:
        stages.append([(3, stride)] + [(3, 1)] * (2 * BLOCKS_PER_STAGE - 1))
    return stages


class _Layers:
    """Makes the layers of one encoder, all with the same padding, precision and seed.

    Layers bear the names of their PyTorch twins, so that weights are exchanged by name.
    """

    def __init__(self, padding: str, dtype_policy: str, synchronised_norm: bool, seed: int):
        self.padding = padding
        self.dtype_policy = dtype_policy
        self.synchronised_norm = synchronised_norm
        self.seed = seed

    def conv(
        self, x: tf.Tensor, name: str, filters: int, kernel_size: int, stride: int = 1
    ) -> tf.Tensor:
        """A convolution without bias, initialised as torchvision's ResNets (He et al. 2015)."""
        keras_padding = 'valid'
        if self.padding == 'zero' and stride == 1:
            keras_padding = 'same'
        elif kernel_size > 1:
            x = self.pad(x, f'{name}.pad', kernel_size // 2)
        return tf.keras.layers.Conv2D(
            filters,
            kernel_size,
            strides=stride,
            padding=keras_padding,
            use_bias=False,
            kernel_initializer=self._initialiser(name, 2.0, 'fan_out', 'untruncated_normal'),
            dtype=self.dtype_policy,
            name=name,
        )(x)

    def pointwise(self, x: tf.Tensor, name: str, filters: int, use_bias: bool) -> tf.Tensor:
        """A 1x1 convolution of the head, initialised as PyTorch's default (bias apart: zero)."""
        return tf.keras.layers.Conv2D(
            filters,
            1,
            use_bias=use_bias,
            kernel_initializer=self._initialiser(name, 1 / 3, 'fan_in', 'uniform'),
            dtype=self.dtype_policy,
            name=name,
        )(x)

    def norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        return tf.keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            # Keras computes synchronised norms without its fused kernel, so ask only if needed.
            synchronized=self.synchronised_norm,
            dtype=self.dtype_policy,
            name=name,
        )(x)

    def relu(self, x: tf.Tensor, name: str) -> tf.Tensor:
        return tf.keras.layers.ReLU(dtype=self.dtype_policy, name=name)(x)

    def pad(self, x: tf.Tensor, name: str, size: int) -> tf.Tensor:
        """Pads by the encoder's mode; nothing for 'none'."""
        if self.padding == 'none':
            return x
        if self.padding == 'zero':
            return tf.keras.layers.ZeroPadding2D(size, dtype=self.dtype_policy, name=name)(x)
        return EdgePadding2D(size, self.padding, dtype=self.dtype_policy, name=name)(x)

    def max_pool(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """3x3, stride 2. `x` is not negative, so padding with 0 is padding with minus infinity."""
        if self.padding != 'none':
            x = tf.keras.layers.ZeroPadding2D(1, dtype=self.dtype_policy, name=f'{name}.pad')(x)
        return tf.keras.layers.MaxPool2D(3, 2, dtype=self.dtype_policy, name=name)(x)

    def crop_shortcut(self, x: tf.Tensor, name: str, stride: int) -> tf.Tensor:
        """Cuts a shortcut to the size of a branch of two 3x3 convolutions; only without padding."""
        if self.padding != 'none':
            return x
        crop = (2, 2) if stride == 1 else (1, 2)
        return tf.keras.layers.Cropping2D((crop, crop), dtype=self.dtype_policy, name=name)(x)

    def add(self, branch: tf.Tensor, shortcut: tf.Tensor, name: str) -> tf.Tensor:
        return tf.keras.layers.Add(dtype=self.dtype_policy, name=name)([branch, shortcut])

    def _initialiser(
        self, name: str, scale: float, mode: str, distribution: str
    ) -> tf.keras.initializers.Initializer:
        seed = zlib.crc32(f'{self.seed}/{name}'.encode()) & 0x7FFFFFFF
        return tf.keras.initializers.VarianceScaling(scale, mode, distribution, seed=seed)


def _basic_block(
    layers: _Layers, x: tf.Tensor, name: str, filters: int, stride: int
) -> tf.Tensor:
    """Two 3x3 convolutions and a shortcut, projected where the shape changes (He et al. 2016)."""
    shortcut = x
    if stride != 1 or x.shape[-1] != filters:
        shortcut = layers.conv(x, f'{name}.downsample.0', filters, 1, stride)
        shortcut = layers.norm(shortcut, f'{name}.downsample.1')
    shortcut = layers.crop_shortcut(shortcut, f'{name}.crop', stride)
    x = layers.conv(x, f'{name}.conv1', filters, 3, stride)
    x = layers.relu(layers.norm(x, f'{name}.bn1'), f'{name}.relu1')
    x = layers.norm(layers.conv(x, f'{name}.conv2', filters, 3), f'{name}.bn2')
    return layers.relu(layers.add(x, shortcut, f'{name}.add'), f'{name}.relu2')


def _stages(
    layers: _Layers, x: tf.Tensor, width: int, stage_strides: Sequence[int]
) -> list[tf.Tensor]:
    """The outputs of the four stages."""
    x = layers.relu(layers.norm(layers.conv(x, 'conv1', width, 7, 2), 'bn1'), 'relu')
    x = layers.max_pool(x, 'maxpool')
    outputs = []
    for stage, stride in enumerate(stage_strides):
        for block in range(BLOCKS_PER_STAGE):
            name = f'layer{stage + 1}.{block}'
            x = _basic_block(layers, x, name, width * 2**stage, stride if block == 0 else 1)
        outputs.append(x)
    return outputs


def _head(
    layers: _Layers, x: tf.Tensor, widths: tuple[int, int], order: str
) -> tf.Tensor:
    """The projection head: two 1x1 convolutions with a norm and an activation between them."""
    hidden, embedding = widths
    if order == 'activation_first':
        x = layers.pointwise(x, 'head.conv0', hidden, use_bias=True)
        x = layers.norm(layers.relu(x, 'head.relu'), 'head.bn')
    else:
        x = layers.pointwise(x, 'head.conv0', hidden, use_bias=False)
        x = layers.relu(layers.norm(x, 'head.bn'), 'head.relu')
    return layers.pointwise(x, 'head.conv1', embedding, use_bias=False)


def _named_outputs(maps: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    """float32 outputs by name, whatever the precision they were computed in."""
    return {
        name: tf.keras.layers.Activation('linear', dtype='float32', name=name)(features)
        for name, features in zip(OUTPUTS, maps)
    }


def _choice(setting: str, value: str, choices: Sequence[str] | Mapping) -> str:
    if value not in choices:
        raise errors.UserError(f'{setting} = {value!r}: choose one of {", ".join(choices)}.')
    return value


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
      stage_strides: of the four stages; the stem has stride 4, so the default makes 8 in all.
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
    _choice('resnet18.padding', padding, PADDINGS)
    _choice('resnet18.head_order', head_order, HEAD_ORDERS)
    _choice('resnet18.statistics', statistics, STATISTICS)
    layers = _Layers(padding, dtype_policy, synchronised_norm, seed)
    frames = tf.keras.Input([None, None, 3], name='frames')
    maps = _stages(layers, frames, width, stage_strides)[2:]
    maps.append(_head(layers, maps[-1], head_widths, head_order))
    grid = resnet_cell_grid(padding, stage_strides)
    return Encoder(frames, _named_outputs(maps), grid, STATISTICS[statistics], name)
