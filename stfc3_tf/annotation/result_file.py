"""The contents of result.json, for labels that were carried through a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from stfc3_tf.annotation import outputs
from stfc3_tf.annotation import propagate as annotate
from stfc3_tf.formats import results
from stfc3_tf.propagation.settings import PropagationSettings
from stfc3_tf.version import __version__


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
      first_frame: the first frame that has labels.
      last_frame: the last one.
      frames: how many frames have labels.
      stopped_by: why frames are missing, or None.
    """

    first_frame: int
    last_frame: int
    frames: int
    stopped_by: str | None


def how(
    size: tuple[int, int], short_side: int | None, settings: PropagationSettings
) -> dict[str, Any]:
    """Return how labels are carried, ready for JSON.

    Args:
      size: (height, width) of the frames.
      short_side: see `propagate.propagate_masks`.
      settings: of the propagation.
    """
    return {
        'input_size': annotate.input_size(size, short_side).settings(),
        'propagation': dataclasses.asdict(settings),
    }


def identity(
    video: results.Video,
    labelled: Sequence[int],
    model: Mapping[str, Any],
    how_carried: Mapping[str, Any],
    options: outputs.Options,
) -> dict[str, Any]:
    """Return what determines the results besides the labels, ready for JSON.

    Args:
      video: the video.
      labelled: the labelled frames.
      model: what tells the encoder from others.
      how_carried: see `how`; {} if nothing was carried.
      options: what is written.
    """
    height, width = video.size
    return {
        'video': video.name,
        'height': height,
        'width': width,
        'frame_rate': video.frame_rate,
        'labelled_frames': labelled,
        'model': model,
        'input_size': {},
        'propagation': {},
        **how_carried,
        **dataclasses.asdict(options),
    }


def contents(determined: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """Return the contents of result.json; see `identity`."""
    return {**determined, **dataclasses.asdict(result), 'version': __version__}
