"""The clips of the probe and the pictures; they are the same in every run on a source."""

from __future__ import annotations

import numpy as np

from stfc3_tf import clips
from stfc3_tf.views import sampler

# Those of the paper's training clips.
_CLIP_FRAMES = 4
_FRAME_RATE = 8.0


def fixed_clips(source: clips.Source, count: int) -> list[np.ndarray]:
    """Read a clip from the middle of each of up to `count` videos, spread over the source.

    Args:
      source: the videos; those that cannot be read are skipped.
      count: how many clips are wanted.

    Returns:
      uint8 RGB [4, height, width, 3] each, frames 1/8 s apart; fewer than `count` if no more can
      be read.
    """
    candidates = np.linspace(0, len(source) - 1, 3 * count).astype(int)
    videos = dict.fromkeys(int(video) for part in range(3) for video in candidates[part::3])
    found: list[np.ndarray] = []
    for video in videos:
        if len(found) == count:
            break
        try:
            found.append(source.read(video, 0.5, _CLIP_FRAMES, _FRAME_RATE))
        except clips.UnreadableVideo:
            continue
    return found


def unrelated_clips(source: clips.Source, count: int) -> list[np.ndarray]:
    """Return clips of at least two different videos, see `fixed_clips`.

    If the source has no two readable videos, built-in scenes are added.
    """
    found = fixed_clips(source, max(2, count))
    return found if len(found) > 1 else found + fixed_clips(clips.SyntheticScenes(), 2)


def centre_view(frames: np.ndarray, size: int) -> np.ndarray:
    """Resize the centre squares of frames.

    Args:
      frames: uint8 [time, height, width, 3].
      size: pixels along a side of the result.

    Returns:
      uint8 [time, size, size, 3].
    """
    box = sampler.centred_box(frames.shape[2] / frames.shape[1], (1.0, 1.0))
    return np.stack(
        [sampler.to_uint8(sampler.resample(frame, box, size)).numpy() for frame in frames]
    )
