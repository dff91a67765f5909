"""Propagate the labels of some frames through a video file; write labels and an overlay video.

    OUT/masks/000000.png, OUT/confidence.csv    or    OUT/tracks.csv, OUT/tracks.json
    OUT/overlay.mp4
    OUT/result.json: the settings, the labelled frames, and whether the video was read to its end

OUT appears when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import dataclasses
import itertools
import json
import posixpath
import shutil
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from stfc3_tf import errors, progress
from stfc3_tf.annotation import both_ways, outputs, result_file
from stfc3_tf.annotation import propagate as annotate
from stfc3_tf.annotation.given_labels import Given
from stfc3_tf.annotation.result_file import Result
from stfc3_tf.clips import footage as footage_lib
from stfc3_tf.clips import part, source, video_writer
from stfc3_tf.formats import results
from stfc3_tf.propagation import extractor, propagator
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.storage import files, object_store, writing

# The overlay and the masks need at least this: even a still picture compresses to no less.
_BYTES_PER_PIXEL = 0.005


class LabelFiles(Protocol):
    """Stores the labels of all frames, see `outputs`."""

    def put(self, frame: outputs.Timed, label: Any) -> None:
        """Keep the label of a frame; frames come in order."""

    def draw(self, frame: footage_lib.Frame) -> np.ndarray:
        """Return a frame with its label drawn on it; frames come in order."""

    def finish(self, frames: Sequence[int], video: results.Video) -> None:
        """Write the tables of the given frames, and the files of other tools."""


class Annotation(Protocol):
    """What the labelled frames show, see `inputs`."""

    @property
    def frames(self) -> list[int]:
        """The labelled frames, ascending."""

    @property
    def given(self) -> Given:
        """Their labels."""

    def files(self, folder: str, options: outputs.Options) -> LabelFiles:
        """Return the files that keep the labels of all frames."""


def check_output(output_dir: str, footage: footage_lib.Footage) -> None:
    """Check, before the work begins, that its results can be written.

    Raises:
      errors.UserError: the folder is not empty, cannot be made, or has no room; or videos cannot be
        encoded here.
    """
    video_writer.check_encoder()
    if not output_dir:
        raise errors.UserError('output_dir is empty: name a folder to write to.')
    object_store.check_text(output_dir)
    output_dir = output_dir.rstrip('/')
    try:
        if tf.io.gfile.exists(output_dir) and not (
            tf.io.gfile.isdir(output_dir) and not tf.io.gfile.listdir(output_dir)
        ):
            raise errors.UserError(
                f'{output_dir} exists and is not an empty folder: choose another, or remove it.'
            )
        writing.check_folder(output_dir)
        free = float('inf') if '://' in output_dir else shutil.disk_usage(_parent(output_dir)).free
    except (tf.errors.OpError, OSError) as error:
        raise _unwritable(output_dir, error) from error
    height, width = footage.size
    needed = (footage.stated_count or 0) * height * width * _BYTES_PER_PIXEL
    if needed > free:
        raise errors.UserError(
            f'{output_dir}: {free / 1e6:,.1f} MB are free there, but {footage.stated_count:,} '
            f'frames of {width}x{height} need more than {needed / 1e6:,.1f} MB: make room or '
            'choose another folder.'
        )


def annotate_video(
    encoder: FeatureExtractor,
    footage: footage_lib.Footage,
    annotation: Annotation,
    output_dir: str,
    settings: propagator.PropagationSettings | None = None,
    short_side: int | None = None,
    options: outputs.Options | None = None,
) -> Result:
    """Propagate the labels of some frames to all frames of a video, and write the results.

    Memory does not grow with the length of the video. On disk, besides the results, there are
    eight bytes per number in the tables, and the label maps from one labelled frame to the next.

    Args:
      encoder: see `propagate.propagate_masks`.
      footage: the video.
      annotation: the labels.
      output_dir: missing or empty; see `check_output`.
      settings: see `propagate.propagate_masks`.
      short_side: see `propagate.propagate_masks`.
      options: what is written beside the usual files.

    Returns:
      Which frames have labels. If the video cannot be read to its end, the labels before the
      damage are kept.

    Raises:
      errors.UserError: a labelled frame cannot be read, the annotation does not fit it, or the
        results cannot be written. Then no files are left.
    """
    settings = settings or propagator.PropagationSettings()
    options = options or outputs.Options()
    return run(Job(encoder, footage, annotation, settings, short_side, options), output_dir)


def run(job: Job, output_dir: str) -> Result:
    """Run a job; see `annotate_video`."""
    output_dir = output_dir.rstrip('/')
    try:
        writing.write_whole(output_dir, job.write)
    except (OSError, tf.errors.OpError) as error:
        raise _unwritable(output_dir, error) from error
    return job.result


def finished(output_dir: str, job: Job) -> Result | None:
    """Return what an earlier run of the same job did, or None if there was none.

    Raises:
      errors.UserError: the folder holds the results of other labels, settings or another model.
    """
    path = posixpath.join(output_dir, 'result.json')
    if not files.exists(path):
        return None
    stored = files.read_json(path, dict[str, Any], 'Remove the folder to run the video again.')
    # Earlier versions wrote only the options that differ from the defaults.
    found = {**_plain(dataclasses.asdict(outputs.Options())), **stored}
    wanted = _plain(job.identity())
    different = [name for name, value in wanted.items() if found.get(name) != value]
    if different:
        raise errors.UserError(
            f'{output_dir} holds results that were made with other values of '
            f'{", ".join(different)}: remove it, or choose another folder.'
        )
    return Result(**{field.name: stored.get(field.name) for field in dataclasses.fields(Result)})


def _plain(value: Any) -> Any:
    """Return a value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def _parent(output_dir: str) -> str:
    return posixpath.dirname(output_dir) or '.'


def _unwritable(output_dir: str, error: Exception) -> errors.UserError:
    return errors.UserError(
        f'{output_dir} cannot be written: {error}. Nothing was kept; choose a folder that can be '
        'written and has room.'
    )


@dataclasses.dataclass
class Job:
    """A video, its labels, and how they are propagated; see `annotate_video`.

    Attributes:
      encoder: of the frames.
      footage: the video.
      annotation: its labels.
      settings: of the propagation.
      short_side: at which the encoder sees frames, in pixels, or None.
      options: what is written beside the usual files.
      result: what was done, once it is.
    """

    encoder: FeatureExtractor
    footage: footage_lib.Footage
    annotation: Annotation
    settings: propagator.PropagationSettings
    short_side: int | None
    options: outputs.Options = outputs.Options()
    result: Result = dataclasses.field(init=False)
    _numbers: list[int] = dataclasses.field(default_factory=list, init=False)

    def write(self, folder: str) -> None:
        """Fill a folder with the results."""
        label_files = self.annotation.files(folder, self.options)
        self.result = self._propagate(label_files)
        video_writer.write_timed_video(
            posixpath.join(folder, 'overlay.mp4'),
            self._drawn(label_files),
            self.footage.frame_rate,
            self.footage.pixel_aspect,
        )
        label_files.finish(self._numbers, self._video())
        record = result_file.contents(self.identity(), self.result)
        outputs.write_json(posixpath.join(folder, 'result.json'), record)

    def _propagate(self, label_files: LabelFiles) -> Result:
        """Label all frames."""
        several = len(self.annotation.frames) > 1
        display = progress.Display('labels', 'steps' if several else 'frames', self._steps())
        steps = itertools.count(2)
        display.show(1)
        size = annotate.input_size(self.footage.size, self.short_side)
        carrier = both_ways.Carrier(
            self.encoder,
            self.footage,
            self.annotation.given,
            self.settings,
            size,
            lambda: display.show(next(steps)),
        )
        reason = None
        try:
            for labelled in carrier.labels():
                label_files.put(labelled, labelled.label)
                self._numbers.append(labelled.number)
        except source.UnreadableVideo as error:
            reason = str(error)
        except tf.errors.OpError as error:
            raise errors.UserError(
                f'The encoder fails on frame {carrier.latest} of {self.footage.name}: '
                f'{error.message}. If it is memory, lower short_side.'
            ) from error
        display.finish()
        numbers = self._numbers
        return Result(numbers[0], numbers[-1], len(numbers), reason)

    def _steps(self) -> int | None:
        """Return about how many frames get labels; those between two labelled frames get two."""
        total, frames = self.footage.stated_count, self.annotation.frames
        if total is None:
            return None
        every = self.footage.chosen['every'] if isinstance(self.footage, part.Part) else None
        between = (frames[-1] - frames[0]) // (every or 1) + 1 - len(frames)
        return (total + max(0, between)) * len(self.annotation.given.groups)

    def _drawn(self, label_files: LabelFiles) -> Iterator[tuple[float, np.ndarray]]:
        """Yield times and pictures of the overlay."""
        display = progress.Display('overlay', 'frames', self.result.frames)
        start = None
        frames = self.footage.frames(self.result.first_frame)
        for count, frame in enumerate(itertools.islice(frames, self.result.frames), 1):
            start = frame.time if start is None else start
            yield frame.time - start, label_files.draw(frame)
            display.show(count)
        display.finish()

    def identity(self) -> dict[str, Any]:
        """Return everything that determines the results, ready for JSON."""
        how = result_file.how(self.footage.size, self.short_side, self.settings)
        model, frames = extractor.identity(self.encoder), self.annotation.frames
        chosen = self.footage.chosen if isinstance(self.footage, part.Part) else {}
        return {
            **result_file.identity(self._video(), frames, model, how, self.options),
            **chosen,
            'labels_sha256': self.annotation.given.digest(),
        }

    def _video(self) -> results.Video:
        return results.Video(self.footage.name, self.footage.size, self.footage.frame_rate)
