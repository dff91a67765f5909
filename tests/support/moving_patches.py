"""Videos whose labels are known exactly, and an encoder that can tell all their cells apart."""

import numpy as np
from PIL import Image
import tensorflow as tf

from stfc3_tf.storage import palette
from stfc3_tf.views.cell_grid import CellGrid

HEIGHT, WIDTH = 101, 133
FRAMES = 7


class Colours(tf.Module):
    """Cells are centred on pixels 0, 8, ...; those of different colours are almost orthogonal."""

    def __init__(self):
        super().__init__()
        waves = np.random.default_rng(0).standard_normal((3, 64)) / 15
        self.waves = tf.constant(waves, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, 'frames')])
    def features(self, frames):
        phases = tf.tensordot(tf.cast(frames[:, ::8, ::8], tf.float32), self.waves, 1)
        return {'features': tf.concat([tf.cos(phases), tf.sin(phases)], -1) / 8}


class ColoursInMemory:
    """`Colours` as an encoder, without a file."""

    cell_grid = CellGrid(first=0, stride=8)

    def __init__(self):
        self._module = Colours()

    def features(self, frames):
        return self._module.features(frames)['features'].numpy()


def save_model(path):
    """Write the encoder as a SavedModel."""
    module = Colours()
    tf.saved_model.save(module, path, signatures={'features': module.features})
    return path


def scene(number, scale=1):
    """Return a frame and its mask: on grey, objects 2 and 5 of patches move a cell per frame."""
    rows, columns = -(-(HEIGHT + 4) // 8), -(-(WIDTH + 4) // 8)
    patches, mask = np.full((rows, columns, 3), 128), np.zeros((rows, columns), np.uint8)
    for identity, (top, left) in ((2, (1, 1 + number)), (5, (7, 10 - number))):
        place = np.s_[top : top + 5, left : left + 6]
        patches[place] = np.random.default_rng(identity).integers(0, 256, (5, 6, 3))
        mask[place] = identity
    pixels = np.s_[4 : 4 + HEIGHT, 4 : 4 + WIDTH]  # Patches are centred on cells.
    frame, mask = (part.repeat(8, 0).repeat(8, 1)[pixels] for part in (patches, mask))
    return (part.repeat(scale, 0).repeat(scale, 1) for part in (frame.astype(np.uint8), mask))


def frames_and_masks(scale=1):
    return zip(*(scene(number, scale) for number in range(FRAMES)))


def write_folder(path, count=FRAMES):
    path.mkdir()
    for number in range(count):
        Image.fromarray(next(scene(number % FRAMES))).save(path / f'{number}.png')
    return str(path)


def write_mask(path, number):
    image = Image.fromarray(list(scene(number))[1])
    image.putpalette(palette.DAVIS.tobytes())
    image.save(path)
    return str(path)


def assert_masks_agree(found, truth, within):
    """Masks agree except near the truth's borders, because corners come back rounded."""
    reach = 2 * within + 1
    padded = np.pad(truth, within, mode='edge')
    windows = np.lib.stride_tricks.sliding_window_view(padded, (reach, reach))
    inner = windows.min((2, 3)) == windows.max((2, 3))
    assert inner.mean() > 0.6 and (found == truth).mean() > 0.98
    np.testing.assert_array_equal(found[inner], truth[inner])
