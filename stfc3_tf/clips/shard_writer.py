"""The writer of TFRecord shards; `shards` describes their records and reads them."""

from __future__ import annotations

from collections.abc import Sequence
import struct
from typing import NamedTuple

import numpy as np
import tensorflow as tf

HEADER = struct.Struct('<QI')  # Length of the data and the masked checksum of that length.
FOOTER_BYTES = 4  # The masked checksum of the data.


class Picture(NamedTuple):
    """A frame as it is stored in a record.

    Attributes:
      seconds: when it is shown, since the video's first frame.
      jpeg: the encoded frame.
      height: pixels.
      width: pixels.
    """

    seconds: float
    jpeg: bytes
    height: int
    width: int


def encoded(frame: np.ndarray, seconds: float, quality: int = 95) -> Picture:
    """Encode a frame as JPEG.

    Args:
      frame: uint8 RGB [height, width, 3].
      seconds: when it is shown, since the video's first frame.
      quality: of the JPEG picture, 1 to 100.

    Returns:
      The picture.
    """
    with tf.device('/cpu:0'):
        jpeg = tf.io.encode_jpeg(frame, quality=quality, chroma_downsampling=False).numpy()
    return Picture(seconds, jpeg, *frame.shape[:2])


def record_of(pictures: Sequence[Picture], data_path: str) -> bytes:
    """Return the record of encoded frames.

    Args:
      pictures: at least one, in the order of their times, of one size.
      data_path: where the video came from.

    Returns:
      The serialised `tf.train.SequenceExample`.
    """
    first, last = pictures[0], pictures[-1]
    span = last.seconds - first.seconds
    context = {
        'clip/data_path': _bytes(data_path.encode()),
        'clip/end/timestamp': _integers(_microseconds(last)),
        'clip/start/timestamp': _integers(_microseconds(first)),
        'image/format': _bytes(b'JPEG'),
        'image/frame_rate': _floats((len(pictures) - 1) / span if span else 0.0),
        'image/height': _integers(first.height),
        'image/width': _integers(first.width),
    }
    lists = {
        'image/encoded': [_bytes(picture.jpeg) for picture in pictures],
        'image/timestamp': [_integers(_microseconds(picture)) for picture in pictures],
    }
    example = tf.train.SequenceExample(
        context=tf.train.Features(feature=context),
        feature_lists=tf.train.FeatureLists(
            feature_list={name: tf.train.FeatureList(feature=f) for name, f in lists.items()}
        ),
    )
    # Maps in protocol buffers have no fixed order; the same record must give the same bytes.
    return example.SerializeToString(deterministic=True)


class ShardWriter:
    """Writes a shard under a hidden name and renames it when it is complete.

    Args:
      path: of the finished shard.

    Attributes:
      offsets: where each record begins.
      bytes: of the shard so far.
    """

    def __init__(self, path: str):
        folder, _, name = path.rpartition('/')
        self._path = path
        # Hidden, so that readers of the folder do not see an incomplete shard.
        self._unfinished = tf.io.gfile.join(folder, f'.{name}.incomplete')
        self._writer = tf.io.TFRecordWriter(self._unfinished)
        self.offsets: list[int] = []
        self.bytes = 0

    def write(self, record: bytes) -> None:
        """Append a record."""
        self._writer.write(record)
        self.offsets.append(self.bytes)
        self.bytes += HEADER.size + len(record) + FOOTER_BYTES

    def finish(self) -> None:
        """Give the shard its final name."""
        self._writer.close()
        tf.io.gfile.rename(self._unfinished, self._path, overwrite=True)


def _microseconds(picture: Picture) -> int:
    return round(picture.seconds * 1e6)


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _integers(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _floats(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
