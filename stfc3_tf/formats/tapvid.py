"""TAP-Vid: tracks as NumPy arrays, as the data set's files hold them, but in pixels of the video.

tracks        float32 [points, frames, 2], (x, y), pixel edges at integers: the centre of the
              top left pixel is (0.5, 0.5); NaN without a position
visible       bool [points, frames]
occluded      bool [points, frames], the opposite
confidence    float32 [points, frames]
query_points  float32 [points, 3], (place in `frames`, y, x) where a point is first visible
names         str [points]
frames        int64 [frames], the numbers of the frames
times         float64 [frames], in seconds
size          int64 [2], (height, width)
"""

from __future__ import annotations

import io

import numpy as np

from stfc3_tf.formats import results
from stfc3_tf.storage import writing


def write_points(found: results.PointResults, path: str) -> None:
    """Write an NPZ file."""
    frames = list(found.frames)
    tracks = np.stack([frame.points for frame in frames], axis=1) + 0.5
    visible = np.stack([frame.visible for frame in frames], axis=1)
    contents = io.BytesIO()
    np.savez_compressed(
        contents,
        tracks=tracks.astype(np.float32),
        visible=visible,
        occluded=~visible,
        confidence=np.stack([f.confidence for f in frames], axis=1).astype(np.float32),
        query_points=_queries(tracks, visible),
        names=np.array(found.names),
        frames=np.array([frame.number for frame in frames]),
        times=np.array([frame.time for frame in frames]),
        size=np.array(found.video.size),
    )
    writing.write_bytes(path, contents.getvalue())


def _queries(tracks: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Return where each point is first visible; in the first frame if it never is."""
    first = visible.argmax(axis=1)
    at = tracks[np.arange(len(tracks)), first]
    return np.column_stack([first, at[:, ::-1]]).astype(np.float32)
