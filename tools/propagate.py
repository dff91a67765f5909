"""Propagate masks or points, marked in one or more frames, through a whole video.

    python -m tools.propagate --saved_model=MODEL --video=clip.mp4 --mask=mask.png --output_dir=OUT

or, for points, --points=points.json instead of --mask=mask.png; for several labelled frames,
--mask=0:first.png --mask=40:later.png; for many videos, --videos=FOLDER. With --server=http://HOST:8501
instead of --saved_model the features are computed by TensorFlow Serving (docs/serving.md).

The command writes masks (OUT/masks, palette PNG, with OUT/confidence.csv) or tracks
(OUT/tracks.csv and OUT/tracks.json), OUT/overlay.mp4, which browsers play, and OUT/result.json. If
all frames have labels, the exit status is 0. If the video cannot be read to its end, the frames
before the damage have labels, and the status is 1.
"""

from __future__ import annotations

from collections.abc import Sequence
import signal

from absl import flags

from stfc3_tf import errors, stopping, wording
from stfc3_tf.annotation import many_videos, outputs, video_job
from stfc3_tf.annotation import propagate as annotate
from stfc3_tf.annotation.drawing import preview
from stfc3_tf.annotation.marks import request, video_list
from stfc3_tf.clips import footage
from stfc3_tf.commands import command, configuration, idle_flags, label_flags
from stfc3_tf.formats import writing as formats
from stfc3_tf.propagation import extractor, finer_cells, propagator
from stfc3_tf.serving import client, loading, shipped
from stfc3_tf.serving.encoder import LoadedEncoder

_SAVED_MODEL = flags.DEFINE_string(
    'saved_model',
    None,
    'Encoder: a folder that training, tools.export or tools.import_torch wrote, a file that ends '
    f'in .onnx or .tflite, or the name of an encoder that comes with the package. By default '
    f'{shipped.DEFAULT}, where it is there.',
)
_SERVER = flags.DEFINE_string(
    'server',
    None,
    'Instead of --saved_model, a server of the encoder: http://HOST:8501 (REST) or '
    'grpc://HOST:8500 (gRPC).',
)
_MODEL = flags.DEFINE_string('model', 'stfc3', 'With --server, the name of the model there.')
_VERSION = flags.DEFINE_integer(
    'version', None, 'With --server, the version of the model; by default the newest.'
)
_TIMEOUT = flags.DEFINE_float(
    'timeout', 60.0, 'With --server, the seconds that a request may take.', lower_bound=0.1
)
_VIDEO = flags.DEFINE_string('video', None, 'Video file, or folder of pictures.')
_VIDEOS = flags.DEFINE_string(
    'videos',
    None,
    'Instead of --video, many videos: a folder, a glob, or a table (.csv) with the columns video '
    'and labels, and perhaps frame and objects.',
)
_LABELS = flags.DEFINE_string(
    'labels',
    None,
    'With --videos, the folder of their labels: for clip.mp4 a mask clip.png, a folder clip of '
    'masks, or points clip.json or clip.csv. By default they are beside the videos.',
)
_LABEL_FILES = label_flags.define(points='Instead of --mask. ')
_START = flags.DEFINE_integer('start', None, 'Number of the first frame that gets labels.')
_END = flags.DEFINE_integer('end', None, 'Number of the last frame that gets labels.')
_EVERY = flags.DEFINE_integer('every', 1, '2 for every second frame, and so on.')
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Where results go: a folder that is empty or not there yet.', required=True
)
_PREVIEW = flags.DEFINE_string(
    'preview',
    None,
    'Picture (.png, .jpg) of the labelled frames as they were understood, written before the run. '
    'With --videos, a folder for a picture of each video.',
)
_FORMATS = flags.DEFINE_list(
    'formats',
    [],
    f'Also write the labels in formats of other tools: {", ".join(formats.NAMES)}; several with '
    'commas between them. deeplabcut and tapvid are for points.',
)
_VISIBLE_ABOVE = flags.DEFINE_float(
    'visible_above',
    outputs.Options().visible_above,
    'A point with at least this confidence, 0 to 1, counts as visible.',
)
_SHORT_SIDE = flags.DEFINE_integer(
    'short_side',
    None,
    'Pixels of the short side at which frames are shown to the encoder: more is finer and slower. '
    "By default the video's own, but from 240 to 480. Results have the size of the video.",
)
_FINER = flags.DEFINE_bool(
    'finer',
    False,
    'Whether cells have half the size, for points that are placed more finely: the features take '
    'four times as long, and the search in large frames more. PropagationSettings.radius still '
    'counts whole cells.',
)
_FRAME_RATE = flags.DEFINE_float(
    'frame_rate',
    24.0,
    'Frames per second of a folder of pictures, or of a video without times such as a raw stream.',
)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings',
    [],
    "A setting of the propagation, e.g. 'PropagationSettings.radius = 20' (cells that an object "
    'may move from one frame to the next)',
)


def load_encoder() -> extractor.FeatureExtractor:
    """Return the encoder that --saved_model or --server names, with finer cells if asked for."""
    return finer_cells.of(named_encoder(), _FINER.value)


def named_encoder() -> LoadedEncoder:
    """Return the encoder that --saved_model or --server names."""
    if _SERVER.value is not None:
        if _SAVED_MODEL.value is not None:
            raise errors.UserError('Give either --saved_model or --server.')
        return client.connect(_SERVER.value, _MODEL.value, _VERSION.value, _TIMEOUT.value)
    if _SAVED_MODEL.value is None and shipped.DEFAULT not in shipped.names():
        raise errors.UserError('Give --saved_model or --server.')
    return loading.load(_SAVED_MODEL.value or shipped.DEFAULT)


def propagate() -> int:
    """Check everything that can be checked, load the model, and run; return the status."""
    configuration.parse_gin([], _GIN_BINDINGS.value)
    settings = finer_cells.settings_for(propagator.PropagationSettings(), _FINER.value)
    configuration.check_bindings_used(_GIN_BINDINGS.value)
    if _SERVER.value is None:
        idle_flags.refuse('A run without --server', [_MODEL, _VERSION, _TIMEOUT])
    if (_VIDEO.value is None) == (_VIDEOS.value is None):
        raise errors.UserError('Give either --video or --videos.')
    asked = request.Request(
        _VIDEO.value or '',
        _LABEL_FILES.mask.value,
        _LABEL_FILES.points.value,
        _LABEL_FILES.objects.value,
        _LABEL_FILES.frame.value,
        _START.value,
        _END.value,
        _EVERY.value,
        _FRAME_RATE.value,
    )
    if asked.masks and not asked.points:
        idle_flags.refuse('--mask', [_VISIBLE_ABOVE])
    options = outputs.Options(tuple(_FORMATS.value), _VISIBLE_ABOVE.value)
    formats.check(options.formats, masks=bool(asked.masks), points=bool(asked.points))
    if _VIDEOS.value is not None:
        return propagate_many(_VIDEOS.value, asked, settings, options)
    if _LABELS.value is not None:
        raise errors.UserError('--labels belongs to --videos; use --mask or --points.')
    propagate_one(asked, settings, options)
    return 0


def propagate_one(
    asked: request.Request, settings: propagator.PropagationSettings, options: outputs.Options
) -> None:
    """Run one video.

    Args:
      asked: the video, its labels and where results go.
      settings: of the propagation.
      options: what is written.

    Raises:
      errors.UserError: a label or a setting is wrong, or the video could not be read to its end.
    """
    if _PREVIEW.value is not None:
        preview.check(_PREVIEW.value)
    try:
        video, annotation = asked.opened()
    except footage.FolderOfVideos as error:
        raise error.or_all('--videos') from error
    print(asked.understood(video, annotation), flush=True)
    annotate.input_size(video.size, _SHORT_SIDE.value)
    output_dir = _OUTPUT_DIR.value.rstrip('/')
    video_job.check_output(output_dir, video)
    if _PREVIEW.value is not None:
        preview.write(_PREVIEW.value, video, annotation)
        print(f'Wrote {_PREVIEW.value}: the labels as they were understood', flush=True)
    encoder = load_encoder()
    result = video_job.annotate_video(
        encoder, video, annotation, output_dir, settings, _SHORT_SIDE.value, options
    )
    frames = f'frames {result.first_frame} to {result.last_frame}'
    if result.stopped_by:
        raise errors.UserError(
            f'{asked.video} could not be read to its end ({result.stopped_by}). '
            f'{output_dir} holds {frames}.'
        )
    print(f'Wrote {output_dir}: {frames}, and overlay.mp4')


def propagate_many(
    videos: str,
    asked: request.Request,
    settings: propagator.PropagationSettings,
    options: outputs.Options,
) -> int:
    """Run many videos.

    Args:
      videos: the value of --videos.
      asked: what holds for all of them.
      settings: of the propagation.
      options: what is written.

    Returns:
      1 if any could not be run or not be read to its end, else 0.

    Raises:
      errors.UserError: a flag belongs to --video, no video is found, or pictures of the labels
        cannot be written.
    """
    if asked.masks or asked.points:
        raise errors.UserError('--mask and --points belong to --video; use --labels.')
    if asked.objects:
        raise errors.UserError(
            '--objects belongs to --video: give --videos a table with the column objects.'
        )
    if _PREVIEW.value is not None:
        preview.check_folder(_PREVIEW.value)
    requests = video_list.requests(videos, _LABELS.value, asked)
    outcomes = many_videos.run(
        load_encoder(),
        requests,
        _OUTPUT_DIR.value.rstrip('/'),
        settings,
        _SHORT_SIDE.value,
        options,
        _PREVIEW.value,
    )
    wrong = [outcome for outcome in outcomes if outcome.status != many_videos.DONE]
    print(f'{len(outcomes) - len(wrong)} of {wording.counted(len(outcomes), "video")} done.')
    if not wrong:
        return 0
    # What is wrong with each has been said when it was its turn.
    print(wording.listed('Not done:', [each.video for each in wrong]), flush=True)
    return 1


def main(_: Sequence[str]) -> int:
    """Run; when interrupted, leave nothing and print so."""
    kept = 'finished videos were kept' if _VIDEOS.value else 'nothing was kept'
    stopping.exit_on(signal.SIGTERM, signal.SIGINT, outcome=kept)
    return propagate()


if __name__ == '__main__':
    command.run(main)
