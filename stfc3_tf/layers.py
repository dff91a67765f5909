"""Keras layers of the encoders: PyTorch's convolutions, norms and paddings.

Precision is passed to every layer, never set globally, so that encoders of several precisions live
in one process.
"""

import zlib

import tensorflow as tf


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


@tf.keras.utils.register_keras_serializable('stfc3_tf')
class PadToMultiple(tf.keras.layers.Layer):
    """Adds zeros below and at the right until rows and columns are multiples of `multiple`."""

    def __init__(self, multiple: int, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        dynamic = tf.shape(inputs)
        below, right = (
            -(dynamic[axis] if inputs.shape[axis] is None else inputs.shape[axis]) % self.multiple
            for axis in (1, 2)
        )
        return tf.pad(inputs, [[0, 0], [0, below], [0, right], [0, 0]])

    def get_config(self) -> dict:
        return {**super().get_config(), 'multiple': self.multiple}


class LayerMaker:
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
        if kernel_size == 1 and stride > 1:
            # The same numbers as a strided convolution, whose weight gradient on the CPU (oneDNN, below
            # 16 channels) writes outside its memory.
            pool = tf.keras.layers.AveragePooling2D(
                1, stride, dtype=self.dtype_policy, name=f'{name}.pick'
            )
            x, stride = pool(x), 1
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
