"""Mark objects or points on a page in the browser, propagate, look, correct, export.

    python -m tools.annotate --video=clip.mp4
    python -m tools.annotate --video=clip.mp4 --mask=first.png
    python -m tools.annotate --root=videos

The command prints an address to open in a browser on this machine. What is marked is stored at
once, below --output_dir; however the command ends, starting it again continues there. The address
holds a secret, and only this machine can connect unless --host says otherwise. Ctrl-C ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import os
import signal
from typing import Any

from absl import flags, logging

from stfc3_tf import errors, stopping
from stfc3_tf.annotation import propagate as annotate
from stfc3_tf.annotation import session_import
from stfc3_tf.annotation.marks import request
from stfc3_tf.annotation.page.desk import Desk
from stfc3_tf.annotation.page.options import Options
from stfc3_tf.clips import footage
from stfc3_tf.commands import command, configuration, idle_flags, label_flags
from stfc3_tf.formats import writing as formats
from stfc3_tf.propagation import finer_cells, propagator
from stfc3_tf.serving import loading, shipped
from stfc3_tf.storage import writing

_VIDEO = flags.DEFINE_string('video', None, 'Video file, or folder of pictures.')
_ROOT = flags.DEFINE_string(
    'root',
    None,
    'Instead of --video, a folder whose videos can be opened on the page; by default the current '
    'one.',
)
_START_WITH = 'To begin with, if nothing is marked in --video yet. '
_LABEL_FILES = label_flags.define(masks=_START_WITH, points=_START_WITH)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir',
    'annotations',
    'Folder of everything that is marked: a folder per video, made if needed.',
)
_SAVED_MODEL = flags.DEFINE_string(
    'saved_model',
    None,
    f'Encoder, as for tools.propagate; by default {shipped.DEFAULT}, which comes with the package.',
)
_SHORT_SIDE = flags.DEFINE_integer(
    'short_side',
    None,
    'Pixels of the short side at which frames are shown to the encoder: more is finer and slower. '
    "By default the video's own, but from 240 to 480.",
)
_FINER = flags.DEFINE_bool(
    'finer',
    False,
    'Whether cells have half the size, as for tools.propagate: points are placed more finely, and '
    'everything takes longer.',
)
_FRAME_RATE = flags.DEFINE_float(
    'frame_rate',
    24.0,
    'Frames per second of a folder of pictures, or of a video without times such as a raw stream.',
)
_FEATURES_GIB = flags.DEFINE_float(
    'features_gib',
    2.0,
    'GiB of features that are kept on disk for each video, at most, so that the encoder sees each '
    'frame once, and as many of similar cells, so that they are searched once; 0 for none.',
    0.0,
    1e6,
)
_FORMATS = flags.DEFINE_list(
    'formats',
    [],
    'Formats of other tools that are chosen on the page at first, for the labels in exports: '
    f'{", ".join(formats.NAMES)}; several with commas between them. '
    f'{" and ".join(formats.FOR_POINTS)} are for points.',
)
_HOST = flags.DEFINE_string(
    'host',
    '127.0.0.1',
    'Address to listen on. With another one than 127.0.0.1, everyone who learns the address of the '
    'page can use it over the network, unencrypted.',
)
_PORT = flags.DEFINE_integer('port', 0, 'Port to listen on; 0 for one that is free.', 0, 65535)
_GIN_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], "A setting of the propagation, e.g. 'PropagationSettings.radius = 20'"
)


def options() -> Options:
    """Return what the flags say, checked before anything is served."""
    configuration.parse_gin([], _GIN_BINDINGS.value)
    settings = finer_cells.settings_for(propagator.PropagationSettings(), _FINER.value)
    configuration.check_bindings_used(_GIN_BINDINGS.value)
    formats.check(_FORMATS.value, masks=True, points=True)
    root, video = _places()
    labels = _labels()
    output_dir = _OUTPUT_DIR.value.rstrip('/') or '.'
    writing.check_folder(os.path.join(output_dir, 'session'))
    model = _SAVED_MODEL.value or shipped.DEFAULT
    return Options(
        root=root,
        video=video,
        output_dir=output_dir,
        load=lambda: finer_cells.of(loading.load(model), _FINER.value),
        settings=settings,
        short_side=_SHORT_SIDE.value,
        frame_rate=_FRAME_RATE.value,
        features_bytes=int(_FEATURES_GIB.value * 2**30),
        formats=tuple(_FORMATS.value),
        labels=labels,
    )


def _labels() -> session_import.Import:
    """Return the labels to begin with, after saying what they are."""
    given = _LABEL_FILES
    if not given.mask.value:
        idle_flags.refuse('A run without --mask', [given.objects])
    if not given.mask.value and not given.points.value:
        idle_flags.refuse('A run without --mask and --points', [given.frame])
    asked = request.Request(
        _VIDEO.value or '', frame=given.frame.value, frame_rate=_FRAME_RATE.value
    )
    labels = session_import.Import(
        _read(dataclasses.replace(asked, masks=given.mask.value, objects=given.objects.value)),
        _read(dataclasses.replace(asked, points=given.points.value)),
    )
    labels.things()  # Too many are refused here.
    return labels


def _read(asked: request.Request) -> Any:
    """Return masks or points of files; None without files."""
    if not asked.masks and not asked.points:
        return None
    if not asked.video:
        raise errors.UserError('--mask and --points belong to a video: give --video.')
    video, annotation = asked.opened()
    last = annotation.frames[-1]
    if next(video.frames(last)).number != last:
        raise errors.UserError(f'{asked.video} has no frame {last}: label another one.')
    note = ', for a video in which nothing is marked yet'
    print(asked.understood(video, annotation, note), flush=True)
    return annotation


def _places() -> tuple[str, str | None]:
    """Return the folder of the videos, and the video in it that is given, if one is."""
    if _VIDEO.value is None:
        root = _ROOT.value or '.'
        if not os.path.isdir(root):
            raise errors.UserError(f'--root={root} is not a folder: name one that holds videos.')
        return root, None
    if _ROOT.value is not None:
        raise errors.UserError('Give either --video or --root.')
    path = _VIDEO.value.rstrip('/') or '/'
    if '://' in path:
        raise errors.UserError(f'--video={path}: the page reads files of this machine alone.')
    try:
        size = footage.open_footage(path, _FRAME_RATE.value).size
    except footage.FolderOfVideos as error:
        raise error.or_all('--root') from error
    annotate.input_size(size, _SHORT_SIDE.value)
    return os.path.split(path)


def main(_: Sequence[str]) -> None:
    """Serve until a signal comes."""
    stopping.exit_on(signal.SIGTERM, signal.SIGINT)
    try:
        from stfc3_tf.annotation.page import server
    except ImportError as error:
        raise errors.UserError(
            f'The page needs the package {error.name}: pip install "stfc3-tf[web]"'
        ) from error
    chosen = options()

    def say(address: str) -> None:
        if _HOST.value not in ('127.0.0.1', 'localhost', '::1'):
            logging.warning('Everyone on the network who learns this address can use the page.')
        print(f'Open this address in a browser:\n  {address}\nCtrl-C ends the server.', flush=True)

    server.serve(Desk(chosen), _HOST.value, _PORT.value, say)


if __name__ == '__main__':
    command.run(main)
