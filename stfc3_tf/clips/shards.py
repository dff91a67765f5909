"""TFRecord shards of JPEG frames as a source of clips, and their writer.

A record is a `tf.train.SequenceExample`, a video or a part of a long one:

    feature lists  image/encoded      bytes, a JPEG picture a frame
                   image/timestamp    int64, microseconds, ascending
    context        image/frame_rate   float, frames per second, for records without time stamps
                   image/height       int64
                   image/width        int64
                   image/format       bytes, 'JPEG'
                   clip/data_path     bytes, where the video came from
                   clip/start/timestamp, clip/end/timestamp
                                      int64, microseconds, the record's part of that video

DMVR's readers need image/encoded alone.

Records are read at random: where they begin is said by the index that `stfc3_tf.preparation` writes
beside its shards, or else found by looking through the headers once; of the record asked for only
the frames asked for are decoded. TensorFlow checks the checksum of each record as it reads it.
"""

from __future__ import annotations

import concurrent.futures
import json
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging
from google.protobuf import message

from stfc3_tf import errors, object_store
from stfc3_tf.clips import source

_HEADER = struct.Struct('<QI')  # Length of the data and the masked checksum of that length.
_FOOTER_BYTES = 4  # The masked checksum of the data.
_FILES_AT_A_TIME = 16


class _Shard(NamedTuple):
    path: str
    # Where each record begins and the last one ends, int64 [records + 1]. All that is kept of a
    # record, as there may be a hundred million.
    bounds: np.ndarray
    whole: bool  # False where it breaks off or is garbled from its last record on.


class _Place(NamedTuple):
    shard: str
    record: int
    offset: int
    size: int  # In the shard, with what belongs to the format.
    whole: bool


class Shards(source.Source):
    """Every record of the shards is a video.

    Args:
      paths: the shards, on any file systems TensorFlow knows.

    Raises:
      errors.UserError: a shard cannot be opened.
    """

    def __init__(self, paths: Sequence[str]):
        known = _known_bounds(paths)
        # Mostly waiting for the file system.
        with concurrent.futures.ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
            self._shards = list(pool.map(lambda path: _index(path, known.get(path)), paths))
        # Number of the first record of each shard, and of all records: int64 [shards + 1].
        self._first = np.cumsum([0] + [len(shard.bounds) - 1 for shard in self._shards])

    def __len__(self) -> int:
        return int(self._first[-1])

    def name(self, video: int) -> str:
        place = self._place(video)
        return f'{place.shard} (record {place.record})'

    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        example = self._example(video)
        pictures = example.feature_lists.feature_list['image/encoded'].feature
        if not pictures:
            raise source.UnreadableVideo(self.name(video), 'holds no image/encoded')
        shown = self._times(video, example, len(pictures))
        times = source.clip_times(
            self.name(video), shown[0], shown[-1], position, count, frame_rate
        )
        chosen = source.nearest(shown, times)
        try:
            with tf.device('/cpu:0'):
                return np.stack([_decode(pictures[k].bytes_list.value[0]) for k in chosen])
        except (tf.errors.OpError, ValueError, IndexError) as error:
            raise source.UnreadableVideo(self.name(video), str(error), everywhere=False) from error

    def _place(self, video: int) -> _Place:
        # Of shards with the same first record all but the last are empty.
        number = int(np.searchsorted(self._first, video, side='right')) - 1
        shard, record = self._shards[number], int(video - self._first[number])
        begin, end = shard.bounds[record : record + 2].tolist()
        whole = shard.whole or record + 2 < len(shard.bounds)
        return _Place(shard.path, record, begin, end - begin, whole)

    def _example(self, video: int) -> tf.train.SequenceExample:
        place = self._place(video)
        if not place.whole:
            raise source.UnreadableVideo(self.name(video), 'the shard is cut off or garbled here')
        try:
            with object_store.reporting(place.shard), tf.device('/cpu:0'):
                record = _record_at(place.shard, place.offset, place.size).numpy()
            return tf.train.SequenceExample.FromString(record)
        except (tf.errors.OpError, message.DecodeError) as error:
            reason = getattr(error, 'message', str(error))
            raise source.UnreadableVideo(self.name(video), f'corrupt record ({reason})') from error

    def _times(self, video: int, example: tf.train.SequenceExample, frames: int) -> np.ndarray:
        """Seconds of each frame, ascending."""
        stamps = example.feature_lists.feature_list['image/timestamp'].feature
        values = [value for stamp in stamps for value in stamp.int64_list.value]
        if len(values) == frames:
            if np.any(np.diff(values) <= 0):
                raise source.UnreadableVideo(self.name(video), 'image/timestamp does not ascend')
            return np.array(values) / 1e6
        rates = example.context.feature['image/frame_rate'].float_list.value
        if stamps or not rates or not rates[0] > 0:
            raise source.UnreadableVideo(
                self.name(video),
                f'{len(stamps)} image/timestamp for {frames} frames, and no image/frame_rate',
            )
        return np.arange(frames) / rates[0]


class Picture(NamedTuple):
    """A frame as a record holds it.

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
    """Encodes a frame, uint8 RGB [height, width, 3]; quality is of the JPEG, up to 100."""
    with tf.device('/cpu:0'):
        jpeg = tf.io.encode_jpeg(frame, quality=quality, chroma_downsampling=False).numpy()
    return Picture(seconds, jpeg, *frame.shape[:2])


def clip_record(
    frames: Iterable[np.ndarray], timestamps: Sequence[float], data_path: str, quality: int = 95
) -> bytes:
    """Makes a record of one video.

    Args:
      frames: uint8 RGB [height, width, 3] each.
      timestamps: seconds of each frame, ascending.
      data_path: where the video came from.
      quality: of the JPEG pictures, up to 100.

    Returns:
      The serialised `tf.train.SequenceExample`.

    Raises:
      ValueError: there are not as many frames as time stamps, or none.
    """
    frames = list(frames)
    if len(frames) != len(timestamps) or not frames:
        raise ValueError(f'{len(frames)} frames, {len(timestamps)} time stamps')
    return record_of(
        [encoded(frame, t, quality) for frame, t in zip(frames, timestamps)], data_path
    )


def record_of(pictures: Sequence[Picture], data_path: str) -> bytes:
    """Makes a record of encoded frames.

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
    # Maps have no order of their own: the same record is to be the same bytes.
    return example.SerializeToString(deterministic=True)


class ShardWriter:
    """Writes a shard under a hidden name and renames it once it is complete.

    Args:
      path: of the finished shard.

    Attributes:
      offsets: where each record begins.
      bytes: of the shard so far.
    """

    def __init__(self, path: str):
        folder, _, name = path.rpartition('/')
        self._path = path
        # Hidden, so that a folder with a half-written shard opens without it.
        self._unfinished = tf.io.gfile.join(folder, f'.{name}.incomplete')
        self._writer = tf.io.TFRecordWriter(self._unfinished)
        self.offsets, self.bytes = [], 0

    def write(self, record: bytes) -> None:
        """Appends a record."""
        self._writer.write(record)
        self.offsets.append(self.bytes)
        self.bytes += _HEADER.size + len(record) + _FOOTER_BYTES

    def finish(self) -> None:
        """Gives the shard its name."""
        self._writer.close()
        tf.io.gfile.rename(self._unfinished, self._path, overwrite=True)

    def abandon(self) -> None:
        """Stops writing; the shard does not come to be."""
        self._writer.close()


def write_shard(path: str, records: Iterable[bytes]) -> int:
    """Writes a shard; until it is complete it does not exist.

    Returns:
      How many records were written.
    """
    writer = ShardWriter(path)
    try:
        for record in records:
            writer.write(record)
    except BaseException:
        writer.abandon()
        raise
    writer.finish()
    return len(writer.offsets)


def _microseconds(picture: Picture) -> int:
    return round(picture.seconds * 1e6)


def _known_bounds(paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Where records begin and end by the indices beside the shards, see `_Shard.bounds`."""
    known = {}
    for folder in {path.rpartition('/')[0] for path in paths}:
        index = tf.io.gfile.join(folder, 'index.json')
        if not tf.io.gfile.exists(index):
            continue
        try:
            with tf.io.gfile.GFile(index) as file:
                for shard in json.load(file)['shards']:
                    path = tf.io.gfile.join(folder, shard['name'])
                    known[path] = np.array([*shard['offsets'], shard['bytes']], np.int64)
        except (ValueError, TypeError, KeyError, OverflowError):
            logging.warning('%s is not the index of these shards; not used.', index)
    return known


def _index(path: str, known: np.ndarray | None) -> _Shard:
    """Finds the records of a shard, without an index by its headers.

    What breaks off is one last unreadable record.
    """
    try:
        size = tf.io.gfile.stat(path).length
        if known is not None and known[-1] == size:
            return _Shard(path, known, whole=True)
        bounds = _bounds(path, size)
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path}: {error.message}') from error
    if len(bounds) == 1:
        logging.warning('%s holds no records.', path)
    return _Shard(path, np.array(bounds, np.int64), whole=bounds[-1] == size)


def _bounds(path: str, size: int) -> list[int]:
    """See `_Shard.bounds`; ends beyond the shard if its last record is not whole."""
    bounds = [0]
    with object_store.reporting(path), tf.io.gfile.GFile(path, 'rb') as file:
        while bounds[-1] < size:
            file.seek(bounds[-1])
            length = _data_length(file.read(_HEADER.size))
            frame = size + 1 if length is None else _HEADER.size + length + _FOOTER_BYTES
            # What a broken shard says of its last record need not fit an int64.
            bounds.append(min(bounds[-1] + frame, size + 1))
    return bounds


@tf.function(
    input_signature=[
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([], tf.int64),
        tf.TensorSpec([], tf.int64),
    ]
)
def _record_at(path: tf.Tensor, offset: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Reads one record, at once; TensorFlow checks its checksum."""
    # The public class reads a file from its start only; the op beneath it takes an offset.
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path], compression_type='', buffer_size=size, byte_offsets=[offset]
    )
    records = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
    return records.take(1).get_single_element()


def _data_length(header: bytes) -> int | None:
    """Length of a record's data, or None if the header is cut off or its checksum is wrong."""
    if len(header) < _HEADER.size:
        return None
    length, checksum = _HEADER.unpack(header)
    return length if _masked_crc32c(header[:8]) == checksum else None


def _masked_crc32c(data: bytes) -> int:
    """The checksum of the TFRecord format: CRC-32C, rotated and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _decode(picture: bytes) -> np.ndarray:
    return tf.io.decode_jpeg(picture, channels=3, dct_method='INTEGER_ACCURATE').numpy()


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _integers(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))


def _floats(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
