"""Options of the page, and its messages about videos that are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import dataclasses

from stfc3_tf import errors
from stfc3_tf.annotation.session_import import Import
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.propagation.settings import PropagationSettings


@dataclasses.dataclass(frozen=True)
class Options:
    """How the page works.

    Attributes:
      root: folder from which videos may be opened.
      video: the one video that may be opened, relative to `root`; None for all in it.
      output_dir: where sessions are kept.
      load: loads the encoder.
      settings: of the propagation.
      short_side: see `propagate.propagate_masks`.
      frame_rate: of folders of pictures and of streams without times.
      formats: of other tools; exports are written in them, too, unless the page says otherwise.
      features_bytes: of the features that are kept on disk for each video, at most.
      labels: of `video`, for a session in which nothing is marked yet.
    """

    root: str
    video: str | None
    output_dir: str
    load: Callable[[], FeatureExtractor]
    settings: PropagationSettings
    short_side: int | None
    frame_rate: float
    formats: Sequence[str] = ()
    features_bytes: int = 2 << 30
    labels: Import = Import()


class Missing(errors.UserError):
    """What is asked for is not there."""
