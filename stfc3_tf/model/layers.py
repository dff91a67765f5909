"""Keras layers of the encoders: PyTorch's convolutions, norms and paddings.

Precision is passed to every layer, never set globally, so that encoders of several precisions live
in one process.
"""

import zlib

import tensorflow as tf


@tf.keras.utils.register_keras_serializable('stfc3_tf')
class EdgePadding2D(tf.keras.layers.Layer):
    """Pads rows and columns by `size` cells on each side with the cells of the picture.

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
        """Return [batch, rows, columns, channels] with 2 * size more rows and columns."""
        for axis in (1, 2):
            inputs = _extended(inputs, axis, self.size, self.mode)
        return inputs

    def get_config(self) -> dict:
        """Return the arguments that build this layer again."""
        return {**super().get_config(), 'size': self.size, 'mode': self.mode}


def _extended(inputs: tf.Tensor, axis: int, size: int, mode: str) -> tf.Tensor:
    """Return the inputs with `size` cells more at both ends of an axis, see `EdgePadding2D`.

    They are put together from parts: on a CPU, `tf.pad` and its gradient take several times as long
    as that.
    """
    length = inputs.shape[axis]
    if length is not None and length >= 2 * size + 2:
        # The gradient of a split is one copy; that of a slice writes zeros around it.
        parts = tf.split(inputs, [1, size, length - 2 * size - 2, size, 1], axis)
        first, second, _, second_last, last = parts
    else:
        parts = [inputs]
        ends = (0, 1), (1, size + 1), (-size - 1, -1), (-1, None)
        first, second, second_last, last = (
            inputs[(slice(None),) * axis + (slice(*end),)] for end in ends
        )
    if mode == 'replicate':
        before, after = [first] * size, [last] * size
    else:
        before, after = [tf.reverse(second, [axis])], [tf.reverse(second_last, [axis])]
    return tf.concat([*before, *parts, *after], axis)


@tf.keras.utils.register_keras_serializable('stfc3_tf')
class PadToMultiple(tf.keras.layers.Layer):
    """Adds zeros below and at the right until rows and columns are multiples of `multiple`."""

    def __init__(self, multiple: int, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the padded [batch, rows, columns, channels]."""
        dynamic = tf.shape(inputs)
        below, right = (
            -(dynamic[axis] if inputs.shape[axis] is None else inputs.shape[axis]) % self.multiple
            for axis in (1, 2)
        )
        return tf.pad(inputs, [[0, 0], [0, below], [0, right], [0, 0]])

    def get_config(self) -> dict:
        """Return the arguments that build this layer again."""
        return {**super().get_config(), 'multiple': self.multiple}


class LayerMaker:
    """Makes the layers of one encoder, all with the same padding, precision and seed.

    Layers have the names of their PyTorch counterparts, so that weights are exchanged by name. All
    methods take and return feature maps [batch, rows, columns, channels].

    Args:
      padding: 'zero', 'reflect', 'replicate' or 'none'.
      dtype_policy: Keras precision policy of every layer.
      synchronised_norm: whether batch statistics are taken over all replicas in training.
      seed: of the initial weights.
    """

    def __init__(self, padding: str, dtype_policy: str, synchronised_norm: bool, seed: int):
        self.padding = padding
        self.dtype_policy = dtype_policy
        self.synchronised_norm = synchronised_norm
        self.seed = seed

    def conv(
        self, x: tf.Tensor, name: str, filters: int, kernel_size: int, stride: int = 1
    ) -> tf.Tensor:
        """Apply a convolution without bias, initialised as in torchvision's ResNets.

        Args:
          x: [batch, rows, columns, channels].
          name: of the layer.
          filters: number of output channels.
          kernel_size: rows and columns of the kernel.
          stride: cells between two outputs.

        Returns:
          [batch, rows, columns, filters].
        """
        if kernel_size == 1 and stride > 1:
            # The same numbers as a strided convolution. On the CPU (oneDNN, below 16 channels) the
            # weight gradient of that one writes outside its memory.
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
        """Apply a 1x1 convolution, initialised as PyTorch does by default, but with zero bias.

        Args:
          x: [batch, rows, columns, channels].
          name: of the layer.
          filters: number of output channels.
          use_bias: whether to add a bias.

        Returns:
          [batch, rows, columns, filters].
        """
        return tf.keras.layers.Conv2D(
            filters,
            1,
            use_bias=use_bias,
            kernel_initializer=self._initialiser(name, 1 / 3, 'fan_in', 'uniform'),
            dtype=self.dtype_policy,
            name=name,
        )(x)

    def norm(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Apply batch normalisation."""
        return tf.keras.layers.BatchNormalization(
            momentum=0.9,
            epsilon=1e-5,
            # Keras computes synchronised norms without its fused kernel, so ask only if needed.
            synchronized=self.synchronised_norm,
            dtype=self.dtype_policy,
            name=name,
        )(x)

    def relu(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Apply max(x, 0)."""
        return tf.keras.layers.ReLU(dtype=self.dtype_policy, name=name)(x)

    def pad(self, x: tf.Tensor, name: str, size: int) -> tf.Tensor:
        """Pad rows and columns, unless the padding is 'none'.

        Args:
          x: [batch, rows, columns, channels].
          name: of the layer.
          size: cells added on each side.

        Returns:
          [batch, rows + 2 size, columns + 2 size, channels].
        """
        if self.padding == 'none':
            return x
        if self.padding == 'zero':
            return tf.keras.layers.ZeroPadding2D(size, dtype=self.dtype_policy, name=name)(x)
        return EdgePadding2D(size, self.padding, dtype=self.dtype_policy, name=name)(x)

    def max_pool(self, x: tf.Tensor, name: str) -> tf.Tensor:
        """Take the maximum of 3x3 cells with stride 2; `x` must not be negative."""
        # `x` is not negative, so padding with zeros acts as padding with minus infinity.
        if self.padding != 'none':
            x = tf.keras.layers.ZeroPadding2D(1, dtype=self.dtype_policy, name=f'{name}.pad')(x)
        return tf.keras.layers.MaxPool2D(3, 2, dtype=self.dtype_policy, name=name)(x)

    def crop_shortcut(self, x: tf.Tensor, name: str, stride: int) -> tf.Tensor:
        """Crop a shortcut to the size of its branch of two 3x3 convolutions without padding.

        Args:
          x: [batch, rows, columns, channels], the shortcut.
          name: of the layer.
          stride: of the branch.

        Returns:
          The crop; `x` itself if the encoder pads.
        """
        if self.padding != 'none':
            return x
        crop = (2, 2) if stride == 1 else (1, 2)
        return tf.keras.layers.Cropping2D((crop, crop), dtype=self.dtype_policy, name=name)(x)

    def add(self, branch: tf.Tensor, shortcut: tf.Tensor, name: str) -> tf.Tensor:
        """Return branch + shortcut.

        Args:
          branch: [batch, rows, columns, channels].
          shortcut: of the same shape.
          name: of the layer.

        Returns:
          [batch, rows, columns, channels].
        """
        return tf.keras.layers.Add(dtype=self.dtype_policy, name=name)([branch, shortcut])

    def _initialiser(
        self, name: str, scale: float, mode: str, distribution: str
    ) -> tf.keras.initializers.Initializer:
        seed = zlib.crc32(f'{self.seed}/{name}'.encode()) & 0x7FFFFFFF
        return tf.keras.initializers.VarianceScaling(scale, mode, distribution, seed=seed)
