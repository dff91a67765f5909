"""How well features find a cell again in the same frame, moved or magnified, and at what distances they repeat.

    python docs/results/moved_frames.py --frames='BENCHMARKS/davis/JPEGImages/480p/*/00000.jpg' \
        --saved_model=stfc3=OUT/rows/stfc3/seed-0/train/saved_model --untrained=none --gin_bindings='resnet18.width = 32'

Of every frame every second cell, 14 or more from the border of the feature map, takes the most similar cell of the moved frame
within 8 cells of where it belongs, to the right and downwards; right is what lies at most 1.5 cells off. Similarities are cosines.
"""

from collections.abc import Iterator, Sequence

from absl import flags
import numpy as np
import tensorflow as tf

from stfc3_tf import baselines, command, errors, geometry, serving, tracking

MARGIN, REACH, RIGHT = 14, 8, 1.5
DISTANCES = (1, 2, 3, 4, 5, 6)  # cells
# Magnification about the top left pixel, then shift to the left and upwards, pixels.
MOVES = {'2 pixels': (1.0, 2), '4 pixels': (1.0, 4), 'x 1.25': (1.25, 0), 'x 0.8': (0.8, 0)}


def features(encoder, frame: np.ndarray) -> np.ndarray:
    """float32 [rows, columns, channels] of unit length, of a uint8 [height, width, 3] frame."""
    return np.asarray(encoder.features(frame[np.newaxis])[0])


def moved(frame: np.ndarray, zoom: float, shift: float) -> np.ndarray:
    """The frame whose pixel p shows what stood at (p + shift) / zoom, mirrored beyond its border."""
    frame_from_moved = [1 / zoom, 0, shift / zoom, 0, 1 / zoom, shift / zoom, 0, 0]
    image = tf.raw_ops.ImageProjectiveTransformV3(
        images=frame[np.newaxis].astype('f4'),
        transforms=[frame_from_moved],
        output_shape=frame.shape[:2],
        fill_value=0.0,
        interpolation='BILINEAR',
        fill_mode='REFLECT',
    )
    return tf.cast(tf.round(image[0]), tf.uint8).numpy()


def found(before: np.ndarray, after: np.ndarray, grid: geometry.CellGrid, zoom: float, shift: float) -> float:
    """Share of the cells of `before` whose likeliest cell of `after` lies where they went."""
    rows, columns = before.shape[:2]
    distances = []
    for row in range(MARGIN, rows - MARGIN, 2):
        for column in range(MARGIN, columns - MARGIN, 2):
            pixel = grid.first + grid.stride * np.array([row, column])
            target = (pixel * zoom - shift - grid.first) / grid.stride
            corner = np.round(target).astype(int) - REACH
            if np.any(corner < 0) or np.any(corner + 2 * REACH >= (rows, columns)):
                continue
            window = after[corner[0] : corner[0] + 2 * REACH + 1, corner[1] : corner[1] + 2 * REACH + 1]
            likeliest = np.unravel_index(np.argmax(window @ before[row, column]), window.shape[:2])
            distances.append(np.hypot(*(corner + likeliest - target)))
    return float(np.mean(np.array(distances) <= RIGHT))


def repetition(cells: np.ndarray, axis: int) -> list[float]:
    """Mean cosine between a cell and those at each of `DISTANCES` along an axis."""
    cells = np.moveaxis(cells, axis, 0)
    inner = slice(MARGIN, -MARGIN)
    return [
        float(np.mean(np.sum(cells[inner, inner] * np.roll(cells, -distance, 0)[inner, inner], axis=-1)))
        for distance in DISTANCES
    ]


def measure(encoder, frames: list[np.ndarray]) -> np.ndarray:
    """Shares found for each of `MOVES`, then repetition downwards and to the right; means over the frames."""
    rows = []
    for frame in frames:
        cells = features(encoder, frame)
        shares = [found(cells, features(encoder, moved(frame, *move)), encoder.cell_grid, *move) for move in MOVES.values()]
        rows.append(shares + repetition(cells, 0) + repetition(cells, 1))
    return np.mean(rows, axis=0)


def encoders(untrained: Sequence[str], saved_models: Sequence[str]) -> Iterator[tuple[str, tracking.FeatureExtractor]]:
    """Names and encoders, one after the other."""
    for padding in untrained:
        yield f'untrained, {padding}', baselines.RandomFeatures(padding=padding)
    for item in saved_models:
        name, _, path = item.partition('=')
        yield name, serving.load(path)


def main(_):
    command.parse_gin([], flags.FLAGS.gin_bindings)
    frames = [tf.io.decode_jpeg(tf.io.read_file(path)).numpy() for path in sorted(tf.io.gfile.glob(flags.FLAGS.frames))]
    if not frames:
        raise errors.UserError(f'--frames={flags.FLAGS.frames}: no such file.')
    print('', *MOVES, *(f'{way} {distance}' for way in ('down', 'right') for distance in DISTANCES), sep=' | ')
    for name, encoder in encoders(flags.FLAGS.untrained, flags.FLAGS.saved_model):
        print(name, *(f'{figure:.2f}' for figure in measure(encoder, frames)), sep=' | ', flush=True)


if __name__ == '__main__':
    flags.DEFINE_string('frames', None, 'Glob of JPEG files, 480 pixels high or more.', required=True)
    flags.DEFINE_multi_string('saved_model', [], 'NAME=SAVED_MODEL.')
    flags.DEFINE_list('untrained', [], 'Untrained encoders with these paddings.')
    flags.DEFINE_multi_string('gin_bindings', [], 'Settings of the untrained encoders.')
    command.run(main)
