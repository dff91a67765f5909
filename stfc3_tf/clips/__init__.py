"""Sources of clips: video files, frame folders, TFRecord shards, built-in synthetic scenes.

`open_source` finds the videos, `clip_dataset` draws clips from them.

Modules:

    source                        the interface of all sources
    opening, label_folders        which source a path means
    video_files, frame_folders, still_pictures, shards, synthetic    the sources
    dataset, shuffle, frame_rates    the stream of clips, its order, the rates of their frames
    decoder                       the decoder of video files; with its parts:
                                  clock, orientation, frame_colours, animations, unopened,
                                  completeness
    avi_chunks, h264_numbers, jumps    of completeness: what tells that frames are missing
    video                         clips of files, and pictures of folders
    frame, footage, part          whole videos, frame by frame
    video_writer, shard_writer    what is written
    textures                      of the built-in scenes
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
