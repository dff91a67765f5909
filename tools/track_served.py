"""Tracks points through a video with an encoder that TensorFlow Serving serves (docs/serving.md).

    python -m tools.track_served --server=http://localhost:8501 --model=stfc3 \\
        --video=clip.mp4 --points=points.csv --output=tracks.csv

The server turns frames into features and remembers nothing. The frames looked back at, with their
labels, are kept here, and here the labels are propagated.
"""

from collections.abc import Iterator, Sequence
import csv
import io

from absl import flags
import numpy as np
from stfc3_tf import annotate
from stfc3_tf import annotations
from stfc3_tf import client
from stfc3_tf import command
from stfc3_tf import errors
from stfc3_tf import writing
from stfc3_tf.clips import footage
from stfc3_tf.clips import source
import tensorflow as tf

_SERVER = flags.DEFINE_string(
    'server', None, 'http://HOST:8501 (REST) or grpc://HOST:8500 (gRPC).', required=True
)
_MODEL = flags.DEFINE_string('model', 'stfc3', 'Name of the model on the server.')
_VERSION = flags.DEFINE_integer('version', None, 'Version of the model; by default the newest.')
_TIMEOUT = flags.DEFINE_float('timeout', 60.0, 'Seconds that a request may take.', lower_bound=0.1)
_VIDEO = flags.DEFINE_string('video', None, 'Video file, or folder of pictures.', required=True)
_POINTS = flags.DEFINE_string(
    'points',
    None,
    'Points of the first frame: CSV with the columns name,x,y, or JSON {"nose": [310.5, 120], '
    '...}. Pixels; the centre of the first pixel is (0, 0).',
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'CSV file to write: name,frame,x,y,confidence.', required=True
)
_SHORT_SIDE = flags.DEFINE_integer(
    'short_side',
    None,
    'Pixels of the short side at which frames are sent: more is finer and slower. By default the '
    "video's own, but at most 480.",
)


def rows() -> Iterator[list]:
    """Yields the rows of the table as the server answers."""
    video = footage.open_footage(_VIDEO.value)
    marked = annotations.read_points(_POINTS.value, video.size)
    annotate.input_size(video.size, _SHORT_SIDE.value)
    writing.check_file(_OUTPUT.value)
    encoder = client.connect(_SERVER.value, _MODEL.value, _VERSION.value, _TIMEOUT.value)
    images = (frame.image for frame in video.frames())
    labels = annotate.propagate_points(encoder, images, marked.points, short_side=_SHORT_SIDE.value)
    yield ['name', 'frame', 'x', 'y', 'confidence']
    for number, (points, confidence) in enumerate(labels):
        for name, (x, y), sure in zip(marked.names, points, confidence):
            position = ['', ''] if np.isnan(x) else [f'{x:.3f}', f'{y:.3f}']
            yield [name, number, *position, f'{sure:.4f}']


def main(_: Sequence[str]) -> None:
    """Tracks, then writes."""
    table = io.StringIO()
    try:
        csv.writer(table, lineterminator='\n').writerows(rows())
    except source.UnreadableVideo as error:
        raise errors.UserError(f'{_VIDEO.value} cannot be read to its end: {error}') from error
    try:
        writing.write_text(_OUTPUT.value, table.getvalue())
    except (tf.errors.OpError, OSError) as error:
        raise errors.UserError(f'{_OUTPUT.value} cannot be written: {error}') from error
    print(f'Wrote {_OUTPUT.value}')


if __name__ == '__main__':
    command.run(main)
