"""Carries masks or points, marked in one frame, through a whole video.

    python -m tools.propagate --saved_model=MODEL --video=clip.mp4 --mask=mask.png --output_dir=OUT

or, for points, --points=points.json instead of --mask=mask.png.

Writes masks (OUT/masks, palette PNG, with OUT/confidence.csv) or tracks (OUT/tracks.csv and
OUT/tracks.json), OUT/overlay.mp4, which browsers play, and OUT/result.json. Exit status 0: all
frames have labels. If the video cannot be read to its end, the frames before have, and the status
is 1.
"""

import signal
import sys
from collections.abc import Sequence

from absl import flags

from stfc3_tf import annotate, annotate_video, annotations, checks, command, errors, propagation
from stfc3_tf.benchmarks import models
from stfc3_tf.clips import footage

_SAVED_MODEL = flags.DEFINE_string(
    'saved_model',
    None,
    'SavedModel with the signature `features` (training, tools.export, tools.import_torch).',
    required=True,
)
_VIDEO = flags.DEFINE_string('video', None, 'Video file, or folder of pictures.', required=True)
_MASK = flags.DEFINE_string(
    'mask',
    None,
    'Mask of the labelled frame, of its size: palette or grey PNG of object numbers (255: void), '
    'or black and white.',
)
_POINTS = flags.DEFINE_string(
    'points',
    None,
    'Instead of --mask, points of the labelled frame: JSON {"points": [{"name": "nose", '
    '"x": 310.5, "y": 120}, ...]} or {"nose": [310.5, 120], ...}, or CSV with the columns '
    'name,x,y. Pixels; the centre of the first pixel is (0, 0).',
)
_FRAME = flags.DEFINE_integer('frame', 0, 'Number of the labelled frame; the first is 0.')
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Where results go: a folder that is empty or not there yet.', required=True
)
_SHORT_SIDE = flags.DEFINE_integer(
    'short_side',
    None,
    'Pixels of the short side at which frames are shown to the encoder: more is finer and slower. '
    "By default the video's own, but at most 480. Results have the size of the video.",
)
_FRAME_RATE = flags.DEFINE_float('frame_rate', 24.0, 'Pictures per second of a folder of pictures.')
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings',
    [],
    "A setting of the propagation, e.g. 'PropagationSettings.radius = 20' (cells that an object "
    'may move from one frame to the next).',
)


def read_annotation(size: tuple[int, int]) -> annotate_video.Annotation:
    """Returns what --mask or --points marks in a frame of size (height, width)."""
    if (_MASK.value is None) == (_POINTS.value is None):
        raise errors.UserError('Give either --mask or --points.')
    if _MASK.value is not None:
        return annotations.read_mask(_MASK.value, size)
    return annotations.read_points(_POINTS.value, size)


def propagate() -> None:
    """Checks everything that can be checked, loads the model, and runs."""
    checks.whole_number('--frame', _FRAME.value, least=0)
    command.parse_gin([], _GIN_BINDINGS.value)
    settings = propagation.PropagationSettings()
    command.check_bindings_used(_GIN_BINDINGS.value)
    video = footage.open_footage(_VIDEO.value, _FRAME_RATE.value)
    annotation = read_annotation(video.size)
    annotate.input_size(video.size, _SHORT_SIDE.value)
    output_dir = _OUTPUT_DIR.value.rstrip('/')
    annotate_video.check_output(output_dir, video)
    encoder = models.SavedEncoder(_SAVED_MODEL.value)
    result = annotate_video.annotate_video(
        encoder, video, annotation, _FRAME.value, output_dir, settings, _SHORT_SIDE.value
    )
    frames = f'frames {result.first_frame} to {result.last_frame}'
    if result.stopped_by:
        raise errors.UserError(
            f'{_VIDEO.value} could not be read whole ({result.stopped_by}). {output_dir} holds '
            f'{frames}.'
        )
    print(f'Wrote {output_dir}: {frames}, and overlay.mp4')


def main(_: Sequence[str]) -> int:
    """Runs; interrupted, it leaves nothing and says so."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        propagate()
    except KeyboardInterrupt:
        print('interrupted: nothing was kept', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    command.run(main)
