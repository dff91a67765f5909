"""Propagate labels through many videos, one after the other; a broken video is named and skipped.

    OUT/<video>/       the results of a video, see `video_job`
    OUT/outcomes.csv   video, status, message, frames, seconds; a line per video

Videos that are finished are not run again, unless their labels, the model or a setting changed:
that is an error, so that results of different settings do not get mixed up.
"""

from __future__ import annotations

from collections.abc import Mapping
import csv
import dataclasses
import io
import posixpath
import textwrap
import time
from typing import NamedTuple

from absl import logging

from stfc3_tf import errors
from stfc3_tf.annotation import outputs, video_job
from stfc3_tf.annotation.drawing import preview
from stfc3_tf.annotation.marks.request import Request
from stfc3_tf.formats import writing as formats
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.storage import files, names, text, writing

DONE, INCOMPLETE, FAILED = 'done', 'incomplete', 'failed'


class Outcome(NamedTuple):
    """What became of a video: a line of outcomes.csv."""

    video: str
    status: str
    message: str
    frames: int
    seconds: float


def run(
    encoder: FeatureExtractor,
    requests: Mapping[str, Request],
    output_dir: str,
    settings: PropagationSettings,
    short_side: int | None,
    options: outputs.Options | None = None,
    previews: str | None = None,
) -> list[Outcome]:
    """Run all videos; write `output_dir`/outcomes.csv after each.

    Args:
      encoder: see `propagate.propagate_masks`.
      requests: name -> what is asked, see `video_list.requests`.
      output_dir: where results go; what an earlier run finished there is kept.
      settings: see `propagate.propagate_masks`.
      short_side: see `propagate.propagate_masks`.
      options: what is written beside the usual files.
      previews: a folder for `preview.write` of each video, under its name, before it is run.

    Returns:
      The outcomes, in the order of `requests`.

    Raises:
      errors.UserError: `output_dir` cannot be written, or its outcomes.csv is something else.
    """
    batch = _Batch(encoder, settings, short_side, options or outputs.Options(), previews)
    table = posixpath.join(output_dir, 'outcomes.csv')
    writing.check_file(table)
    earlier = {outcome.video: outcome for outcome in _read(table)}
    outcomes = []
    for number, (name, request) in enumerate(requests.items(), 1):
        print(f'{number} of {len(requests)}: {request.video}', flush=True)
        outcome, is_kept = batch.outcome(request, output_dir, names.path_inside(name))
        if not outcome.seconds and request.video in earlier:
            outcome = outcome._replace(seconds=earlier[request.video].seconds)
        outcomes.append(outcome)
        waiting = [each for each in earlier.values() if each.video not in _videos(outcomes)]
        _write(table, [*outcomes, *waiting])
        print(f'  {_told(outcome, is_kept)}', flush=True)
    return outcomes


@dataclasses.dataclass(frozen=True)
class _Batch:
    """What all videos have in common; see `run`."""

    encoder: FeatureExtractor
    settings: PropagationSettings
    short_side: int | None
    options: outputs.Options
    previews: str | None

    def outcome(self, request: Request, output_dir: str, name: str) -> tuple[Outcome, bool]:
        """Return what became of a video, and whether it was kept from an earlier run."""
        start = time.monotonic()
        try:
            result, fresh = self._result(request, output_dir, name)
        except errors.UserError as error:
            return Outcome(request.video, FAILED, _reason(error, request.video), 0, 0.0), False
        except Exception as error:  # noqa: BLE001, the other videos do not depend on this one.
            logging.exception('%s', request.video)
            return Outcome(request.video, FAILED, errors.one_line(error), 0, 0.0), False
        seconds = round(time.monotonic() - start, 1) if fresh else 0.0
        status = INCOMPLETE if result.stopped_by else DONE
        outcome = Outcome(request.video, status, result.stopped_by or '', result.frames, seconds)
        return outcome, not fresh

    def _result(
        self, request: Request, output_dir: str, name: str
    ) -> tuple[video_job.Result, bool]:
        """Return what became of a video, and whether it was run now."""
        if len(request.masks) + len(request.points) == 0:
            raise errors.UserError(
                f'{request.video} has no labels: put a mask, a folder of masks or a file of points '
                'with its name beside it, or in the folder that --labels names.'
            )
        opened, annotation = request.opened()
        print(textwrap.indent(request.understood(opened, annotation), '  '), flush=True)
        if left_out := formats.left_out(self.options.formats, masks=bool(request.masks)):
            print(f'  without {", ".join(left_out)}: for points, this video has masks', flush=True)
        if self.previews is not None:
            preview.write(posixpath.join(self.previews, f'{name}.png'), opened, annotation)
        folder = posixpath.join(output_dir, name)
        job = video_job.Job(
            self.encoder, opened, annotation, self.settings, self.short_side, self.options
        )
        kept = video_job.finished(folder, job)
        if kept is not None:
            return kept, False
        video_job.check_output(folder, opened)
        return video_job.run(job, folder), True


def _told(outcome: Outcome, is_kept: bool) -> str:
    """Return what is printed of a video; `is_kept`: an earlier run did it."""
    status = outcome.status
    if is_kept:
        status = 'kept' if status == DONE else f'kept, {status}'
    return f'{status}: {outcome.message}' if outcome.message else status


def _videos(outcomes: list[Outcome]) -> set[str]:
    return {outcome.video for outcome in outcomes}


def _reason(error: errors.UserError, video: str) -> str:
    """Return a message on one line, without the video that it may begin with."""
    message = ' '.join(str(error).split())
    for beginning in (f'{video}: ', f'{video} '):
        message = message.removeprefix(beginning)
    return message


def _read(table: str) -> list[Outcome]:
    """Return the outcomes of an earlier run."""
    if not files.exists(table):
        return []
    rows = csv.DictReader(io.StringIO(text.decode(files.read_bytes(table), table)))
    try:
        return [
            Outcome(r['video'], r['status'], r['message'], int(r['frames']), float(r['seconds']))
            for r in rows
        ]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise errors.UserError(
            f'{table} is not a table of outcomes ({errors.one_line(error)}): move it away.'
        ) from error


def _write(table: str, outcomes: list[Outcome]) -> None:
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator='\n')
    writer.writerow(Outcome._fields)
    writer.writerows(outcomes)
    writing.write_text(table, lines.getvalue())
