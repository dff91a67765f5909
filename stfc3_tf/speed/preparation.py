"""The cost of preparing videos, compared with that of decoding them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import tempfile
import time
from typing import Any

import av
import numpy as np

from stfc3_tf.clips import decoder, source, synthetic
from stfc3_tf.preparation import listing, run
from stfc3_tf.preparation.settings import Settings


def against_decoding(short_side: int, frame_rate: float, inputs: Sequence[str]) -> dict[str, Any]:
    """Measure the processor time of preparing videos and of only decoding them, on one core.

    Args:
      short_side: see `Settings`.
      frame_rate: see `Settings`.
      inputs: see `listing.list_videos`; if empty, a built-in scene as a video of 10 s.

    Returns:
      Numbers of videos and of decoded frames, and both per second of processor time;
      'share_of_decoding' is the processor time of decoding divided by that of preparing.
    """
    with tempfile.TemporaryDirectory() as folder:
        videos = listing.list_videos(inputs or [_scene(f'{folder}/scene.mp4')])
        frames, decoding = _processor_seconds(lambda: sum(map(_decoded, videos)))
        wanted = Settings(short_side=short_side, frame_rate=frame_rate)
        contents, preparing = _processor_seconds(
            lambda: run.prepare(inputs or videos, f'{folder}/shards', wanted, quiet=True)
        )
    return {
        'videos': len(videos),
        'frames': frames,
        'stored_frames': contents['frames'],
        'megabytes': contents['bytes'] / 1e6,
        'videos_per_cpu_s': len(videos) / preparing,
        'frames_per_cpu_s': frames / preparing,
        'decoded_frames_per_cpu_s': frames / decoding,
        'share_of_decoding': decoding / preparing,
    }


def _processor_seconds(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def _decoded(path: str) -> int:
    """Decode a video as far as possible; return the number of frames."""
    count = 0
    try:
        for count, _ in enumerate(decoder.read_frames(path, threads=1), 1):  # noqa: B007
            pass
    except source.UnreadableVideo:
        pass
    return count


def _scene(path: str) -> str:
    """Write a built-in scene, with the noise of a camera, as a video of 340 x 256."""
    seconds, rate = 10, 30
    scene, noise = synthetic.scene(0, 256, 340), np.random.default_rng(0)
    with av.open(f'file:{path}', 'w') as container:
        stream = container.add_stream('libx264', rate=rate)
        stream.width, stream.height, stream.pix_fmt = 340, 256, 'yuv420p'
        for number in range(seconds * rate):
            image = scene.frame(number / rate) + noise.normal(0, 3, (256, 340, 3))
            image = np.clip(image, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode())
    return path
