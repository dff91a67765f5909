"""A run over one video: labels of one frame to labels of all, as files and as an overlay video.

    OUT/masks/000000.png, OUT/confidence.csv    or    OUT/tracks.csv, OUT/tracks.json
    OUT/overlay.mp4
    OUT/result.json: what was labelled how, from which frame, and whether the video could be read
                     to its end

OUT appears when everything is in it.
"""

from __future__ import annotations

import dataclasses
import itertools
import posixpath
import shutil
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

import stfc3_tf
from stfc3_tf import annotate, errors, label_files, progress, propagation, tracking, writing
from stfc3_tf.clips import footage as footage_lib
from stfc3_tf.clips import source, video_writer

_Frames = Iterator[footage_lib.Frame]

# Of the overlay and the masks, at the least: a still picture compresses to no less.
_BYTES_PER_PIXEL = 0.005


class LabelFiles(Protocol):
    """Keeps the labels of all frames, see `label_files`."""

    def put(self, frame: footage_lib.Frame, label: Any) -> None:
        """Keeps the label of a frame; frames come in any order."""

    def draw(self, frame: footage_lib.Frame) -> np.ndarray:
        """Returns a frame with its label drawn on it; frames come in order."""

    def finish(self, frames: range) -> None:
        """Writes the tables of the given frames."""


class Annotation(Protocol):
    """What the labelled frame shows, see `annotations`."""

    def propagate(
        self,
        encoder: tracking.FeatureExtractor,
        frames: Iterator[np.ndarray],
        settings: propagation.PropagationSettings,
        short_side: int | None,
    ) -> Iterator[Any]:
        """Yields one label a frame, the labelled frame being the first."""

    def files(self, folder: str) -> LabelFiles:
        """Where the labels of all frames are kept."""


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run did.

    Attributes:
      first_frame: the first frame that has labels.
      last_frame: the last one; all between have labels too.
      stopped_by: why frames are missing, or None.
    """

    first_frame: int
    last_frame: int
    stopped_by: str | None


def check_output(output_dir: str, footage: footage_lib.Footage) -> None:
    """Makes sure that results can be written, before there are any.

    Raises:
      errors.UserError: the folder holds something, cannot be made, or has no room; or videos cannot
        be encoded here.
    """
    video_writer.check_encoder()
    if not output_dir:
        raise errors.UserError('output_dir is empty: name a folder to write to.')
    output_dir = output_dir.rstrip('/')
    partial = f'{output_dir}.partial'
    try:
        if tf.io.gfile.exists(output_dir) and not (
            tf.io.gfile.isdir(output_dir) and not tf.io.gfile.listdir(output_dir)
        ):
            raise errors.UserError(
                f'{output_dir} exists and is not an empty folder: choose another, or remove it.'
            )
        writing.write_text(posixpath.join(partial, 'result.json'), 'The results come here.')
        free = float('inf') if '://' in partial else shutil.disk_usage(partial).free
        writing.remove(partial)
    except (tf.errors.OpError, OSError) as error:
        raise _unwritable(output_dir, error) from error
    height, width = footage.size
    needed = (footage.stated_count or 0) * height * width * _BYTES_PER_PIXEL
    if needed > free:
        raise errors.UserError(
            f'{output_dir}: {free / 1e6:,.1f} MB are free there, {footage.stated_count:,} frames '
            f'of {width}x{height} need more than {needed / 1e6:,.1f} MB: make room or choose '
            'another folder.'
        )


def annotate_video(
    encoder: tracking.FeatureExtractor,
    footage: footage_lib.Footage,
    annotation: Annotation,
    frame: int,
    output_dir: str,
    settings: propagation.PropagationSettings | None = None,
    short_side: int | None = None,
) -> Result:
    """Carries the labels of one frame to all frames of a video, and writes what comes out.

    Memory and, apart from the results and eight bytes a number, disk do not grow with the video.

    Args:
      encoder: see `annotate.propagate_masks`.
      footage: the video.
      annotation: labels of frame `frame`.
      frame: its number, from 0.
      output_dir: missing or empty; see `check_output`.
      settings: see `annotate.propagate_masks`.
      short_side: likewise.

    Returns:
      Which frames have labels. Where the video cannot be read on, what lies before is kept.

    Raises:
      errors.UserError: frame `frame` cannot be read, the annotation does not suit it, or the
        results cannot be written. Nothing is left then.
    """
    output_dir = output_dir.rstrip('/')
    settings = settings or propagation.PropagationSettings()
    run = _Run(encoder, footage, annotation, frame, settings, short_side)
    try:
        writing.write_whole(output_dir, run.write)
    except (OSError, tf.errors.OpError) as error:
        raise _unwritable(output_dir, error) from error
    finally:
        writing.remove(f'{output_dir}.partial')
    return run.result


def _unwritable(output_dir: str, error: Exception) -> errors.UserError:
    return errors.UserError(
        f'{output_dir} cannot be written: {error}. Nothing was kept; choose a folder that can be '
        'written and has room.'
    )


@dataclasses.dataclass
class _Run:
    """The steps of `annotate_video`."""

    encoder: tracking.FeatureExtractor
    footage: footage_lib.Footage
    annotation: Annotation
    frame: int
    settings: propagation.PropagationSettings
    short_side: int | None
    result: Result | None = None

    def write(self, folder: str) -> None:
        """Fills a folder with the results."""
        files = self.annotation.files(folder)
        self.result = self._propagate(files)
        numbers = range(self.result.first_frame, self.result.last_frame + 1)
        video_writer.write_timed_video(
            posixpath.join(folder, 'overlay.mp4'),
            self._drawn(files, numbers),
            self.footage.frame_rate,
        )
        files.finish(numbers)
        label_files.write_json(posixpath.join(folder, 'result.json'), self._record())

    def _propagate(self, files: LabelFiles) -> Result:
        """Labels all frames, onwards and then backwards from the labelled one."""
        counter = progress.FrameCounter('labels', self.footage.stated_count)
        onwards = self.footage.frames(self.frame)
        try:
            labelled = next(onwards)
        except source.UnreadableVideo as error:
            raise errors.UserError(f'Frame {self.frame} cannot be reached: {error}') from error
        first = last = self.frame
        reasons = []
        for frames in (onwards, self.footage.backwards(self.frame)):
            try:
                for frame, label in self._labels(itertools.chain([labelled], frames)):
                    files.put(frame, label)
                    first, last = min(first, frame.number), max(last, frame.number)
                    counter.show(last - first + 1)
            except source.UnreadableVideo as error:
                reasons.append(str(error))
        counter.finish()
        return Result(first, last, '; '.join(reasons) or None)

    def _labels(self, frames: _Frames) -> Iterator[tuple[footage_lib.Frame, Any]]:
        """Frames with their labels; the first frame is the labelled one."""
        latest = None

        def images():
            nonlocal latest
            for latest in frames:
                yield latest.image

        arguments = self.encoder, images(), self.settings, self.short_side
        try:
            for label in self.annotation.propagate(*arguments):
                yield latest, label
        except tf.errors.OpError as error:
            raise errors.UserError(
                f'The encoder fails on frame {latest.number} of {self.footage.name}: '
                f'{error.message}. If it is memory, lower short_side.'
            ) from error

    def _drawn(self, files: LabelFiles, numbers: range) -> Iterator[tuple[float, np.ndarray]]:
        """Times and pictures of the overlay."""
        counter = progress.FrameCounter('overlay', len(numbers))
        start = None
        for frame in itertools.islice(self.footage.frames(numbers.start), len(numbers)):
            start = frame.time if start is None else start
            yield frame.time - start, files.draw(frame)
            counter.show(frame.number - numbers.start + 1)
        counter.finish()

    def _record(self) -> dict[str, Any]:
        """What result.json says."""
        height, width = self.footage.size
        return {
            'video': self.footage.name,
            'height': height,
            'width': width,
            'frame_rate': self.footage.frame_rate,
            'labelled_frame': self.frame,
            **dataclasses.asdict(self.result),
            'model': self.encoder.settings(),
            'input_size': dataclasses.asdict(annotate.input_size((height, width), self.short_side)),
            'propagation': dataclasses.asdict(self.settings),
            'version': stfc3_tf.__version__,
        }
