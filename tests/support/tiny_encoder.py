"""An encoder of two layers, for runs that are started many times."""

import gin
import tensorflow as tf

from stfc3_tf.model import resnet
from stfc3_tf.views.geometry import CellGrid


@gin.configurable
def tiny_encoder(dtype_policy='float32', synchronised_norm=False):
    """Return an encoder of a convolution and a norm."""
    del synchronised_norm
    frames = tf.keras.Input([None, None, 3], name='frames')
    make = {'kernel_initializer': tf.keras.initializers.GlorotUniform(0), 'dtype': dtype_policy}
    cells = tf.keras.layers.Conv2D(4, 8, 8, padding='same', **make)(frames)
    maps = tf.keras.layers.BatchNormalization(dtype=dtype_policy)(cells)
    outputs = {
        name: tf.keras.layers.Activation('linear', dtype='float32', name=name)(maps)
        for name in resnet.OUTPUTS
    }
    grid = dict.fromkeys(resnet.OUTPUTS, CellGrid(3.5, 8))
    return resnet.Encoder(frames, outputs, grid, resnet.STATISTICS['imagenet'], 'tiny')
