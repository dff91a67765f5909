"""The speed at which clips become views."""

from __future__ import annotations

import numpy as np

from stfc3_tf.speed import timing
from stfc3_tf.speed.timing import Figures


def input_pipeline(
    view_size: int = 256, height: int = 256, width: int = 340, clips: int = 48
) -> Figures:
    """Measure the drawing of views with the paper's colours, with and without decoding JPEG.

    Args:
      view_size: height and width of the views, pixels.
      height: of the frames, pixels.
      width: of the frames, pixels.
      clips: how many are timed.

    Returns:
      Clips per processor-second, and the cores that 75 clips/s need.
    """
    import tensorflow as tf

    from stfc3_tf.clips import synthetic
    from stfc3_tf.views import colour
    from stfc3_tf.views import sampler as views

    scene = synthetic.scene(0, height, width)
    frames = tf.constant(np.stack([scene.frame(t / 8) for t in range(4)]))
    sampler = views.ViewSampler(view_size=view_size, colours=colour.PAPER)
    numbers = tf.data.Dataset.range(10**6)
    stream = numbers.map(lambda i: {'frames': frames, 'index': i, 'video': i})
    stream = iter(views.add_views(stream, sampler, 0))
    _, per_clip = timing.seconds_per_call(lambda: next(stream)['views'].numpy(), clips)
    pictures = [tf.io.encode_jpeg(frame, quality=95) for frame in frames]
    _, decoding = timing.seconds_per_call(lambda: [tf.io.decode_jpeg(p) for p in pictures], clips)
    return {
        'clips_per_cpu_s': 1 / per_clip,
        'with_jpeg_clips_per_cpu_s': 1 / (per_clip + decoding),
        'cores_for_75_clips_per_s': 75 * (per_clip + decoding),
    }
