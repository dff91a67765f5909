"""Frames, masks and logs to draw."""

import numpy as np
import tensorflow as tf


def random_frames(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def square(top, left, side, number=1, size=(24, 32)):
    mask = np.zeros(size, np.uint8)
    mask[top : top + side, left : left + side] = number
    return mask


def write_events(folder, *parts, tag='train/loss'):
    """Write one event file for each part: step -> value."""
    for values in parts:
        writer = tf.summary.create_file_writer(str(folder))
        with writer.as_default():
            tf.summary.text('configuration', 'words', step=min(values))
            for step, value in values.items():
                tf.summary.scalar(tag, value, step=step)
                tf.summary.image('visuals/views', np.zeros((1, 2, 2, 3), np.uint8), step=step)
        writer.close()
