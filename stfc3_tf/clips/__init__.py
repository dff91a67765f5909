"""Sources of clips: video files, frame folders, TFRecord shards, built-in synthetic scenes.

`open_source` finds the videos, `clip_dataset` draws clips from them.
"""

from stfc3_tf.clips.dataset import ClipSampler, clip_dataset, sample_numbers
from stfc3_tf.clips.opening import open_source
from stfc3_tf.clips.source import SkippedVideos, Source, UnreadableVideo
from stfc3_tf.clips.synthetic import SyntheticScenes

__all__ = [
    'ClipSampler',
    'SkippedVideos',
    'Source',
    'SyntheticScenes',
    'UnreadableVideo',
    'clip_dataset',
    'open_source',
    'sample_numbers',
]
