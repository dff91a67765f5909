"""TFRecord shards of JPEG frames as a source of clips; `shard_writer` writes them.

A record is a `tf.train.SequenceExample`, a video or a part of a long one:

    feature lists  image/encoded      bytes, a JPEG picture per frame
                   image/timestamp    int64, microseconds, ascending
    context        image/frame_rate   float, frames per second, for records without time stamps
                   image/height       int64
                   image/width        int64
                   image/format       bytes, 'JPEG'
                   clip/data_path     bytes, where the video came from
                   clip/start/timestamp, clip/end/timestamp
                                      int64, microseconds, the record's part of that video

DMVR's readers need only image/encoded. Records that DMVR wrote have neither image/timestamp nor
image/frame_rate: their frames are spread evenly from clip/start/timestamp to clip/end/timestamp.

Records are read in any order. The index that `stfc3_tf.preparation` writes beside its shards states
where they begin; without an index the headers are read once. Only the requested frames of a record
are decoded. TensorFlow checks the checksum of each record when it reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
import concurrent.futures
from typing import NamedTuple

from absl import logging
from google.protobuf import message
import numpy as np
import tensorflow as tf
from typing_extensions import TypedDict

from stfc3_tf import errors
from stfc3_tf.clips import source
from stfc3_tf.clips.shard_writer import FOOTER_BYTES, HEADER
from stfc3_tf.storage import files, images, object_store

_FILES_AT_A_TIME = 16
# The first bytes of GZIP files, and the method of compression in those of ZLIB files.
_GZIP, _DEFLATE = b'\x1f\x8b', 8
# The first bytes of a JPEG picture, and the mark of its notes.
_JPEG, _EXIF = b'\xff\xd8', b'Exif\0\0'


class _Shard(NamedTuple):
    path: str
    # Offsets where each record begins and the last one ends, int64 [records + 1]. Nothing else is
    # kept per record, because there may be a hundred million.
    bounds: np.ndarray
    whole: bool  # False if the last record is cut off or garbled.


class _Place(NamedTuple):
    shard: str
    record: int
    offset: int
    size: int  # In the shard, with its header and checksum.
    whole: bool


class StoredVideo(NamedTuple):
    """A video as it is stored.

    Attributes:
      pictures: the frames, encoded.
      times: float64 [frames], seconds.
      size: height and width of the frames, pixels.
    """

    pictures: list[bytes]
    times: np.ndarray
    size: tuple[int, int]


class Shards(source.Source):
    """A source in which every record of the shards is a video.

    Args:
      paths: the shards, on any file systems TensorFlow knows.

    Raises:
      errors.UserError: a shard cannot be opened, or is compressed.
    """

    def __init__(self, paths: Sequence[str]):
        known = _known_bounds(paths)
        # The threads mostly wait for the file system.
        with concurrent.futures.ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
            self._shards = list(pool.map(lambda path: _index(path, known.get(path)), paths))
        # Number of the first record of each shard, and of all records: int64 [shards + 1].
        self._first = np.cumsum([0] + [len(shard.bounds) - 1 for shard in self._shards])

    def __len__(self) -> int:
        return int(self._first[-1])

    def name(self, video: int) -> str:
        """See `source.Source.name`."""
        place = self._place(video)
        return f'{place.shard} (record {place.record})'

    def files(self) -> list[str]:
        """See `source.Source.files`."""
        return [shard.path for shard in self._shards]

    def read(self, video: int, position: float, count: int, frame_rate: float) -> np.ndarray:
        """See `source.Source.read`."""
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
                name = self.name(video)
                return np.stack([_decode(pictures[k].bytes_list.value[0], name) for k in chosen])
        except images.UnreadablePicture as error:
            raise source.UnreadableVideo(name, error.reason, everywhere=False) from error
        except (tf.errors.OpError, ValueError, IndexError) as error:
            raise source.UnreadableVideo(
                self.name(video), errors.one_line(error), everywhere=False
            ) from error

    def stored(self, video: int) -> StoredVideo:
        """Return the frames of a video as they are stored.

        Raises:
          source.UnreadableVideo: the record cannot be read, or does not state the size and the
            times of the frames.
        """
        example = self._example(video)
        context, frames = example.context.feature, example.feature_lists.feature_list
        values = [picture.bytes_list.value for picture in frames['image/encoded'].feature]
        if not all(values):
            reason = f'its frame {values.index([])} is empty'
            raise source.UnreadableVideo(self.name(video), reason, everywhere=False)
        pictures = [value[0] for value in values]
        sides = [context[f'image/{side}'].int64_list.value for side in ('height', 'width')]
        if not all(sides):
            reason = 'does not state image/height and image/width'
            raise source.UnreadableVideo(self.name(video), reason, everywhere=False)
        times = self._times(video, example, len(pictures))
        return StoredVideo(pictures, times, (int(sides[0][0]), int(sides[1][0])))

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
            reason = errors.one_line(error)
            lasting = isinstance(error, (tf.errors.DataLossError, message.DecodeError))
            raise source.UnreadableVideo(
                self.name(video), f'corrupt record ({reason})', everywhere=lasting
            ) from error

    def _times(self, video: int, example: tf.train.SequenceExample, frames: int) -> np.ndarray:
        """Return the seconds of each frame, ascending."""
        stamps = example.feature_lists.feature_list['image/timestamp'].feature
        values = [value for stamp in stamps for value in stamp.int64_list.value]
        if len(values) == frames:
            if np.any(np.diff(values) <= 0):
                raise source.UnreadableVideo(self.name(video), 'image/timestamp does not ascend')
            return np.array(values) / 1e6
        rate = None if stamps else _stated_rate(example, frames)
        if rate is None:
            raise source.UnreadableVideo(
                self.name(video),
                f'{len(stamps)} image/timestamp for {frames} frames, and neither image/frame_rate '
                'nor clip/start/timestamp with clip/end/timestamp',
            )
        return np.arange(frames) / rate


def _stated_rate(example: tf.train.SequenceExample, frames: int) -> float | None:
    """Return the frames per second that the context of a record states, or None."""
    features = example.context.feature
    rates = features['image/frame_rate'].float_list.value
    if rates and rates[0] > 0:
        return rates[0]
    start, end = (features[f'clip/{name}/timestamp'].int64_list.value for name in ('start', 'end'))
    if start and end and end[0] > start[0]:
        return frames / (end[0] - start[0]) * 1e6
    return None


class _IndexedShard(TypedDict):
    name: str
    offsets: list[int]
    bytes: int


class _Index(TypedDict):
    """The parts of index.json that are used here."""

    shards: list[_IndexedShard]


def _known_bounds(paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the bounds of records from the index files beside the shards; see `_Shard.bounds`."""
    known = {}
    for folder in {path.rpartition('/')[0] for path in paths}:
        index = tf.io.gfile.join(folder, 'index.json')
        if not tf.io.gfile.exists(index):
            continue
        try:
            found = files.read_json(
                index, _Index, 'It is not used; the headers of the shards are read.'
            )
        except errors.UserError as error:
            logging.warning('%s', error)
            continue
        for shard in found['shards']:
            bounds = np.array([*shard['offsets'], shard['bytes']], np.int64)
            if np.all(np.diff(bounds) > 0) and bounds[0] >= 0:
                known[tf.io.gfile.join(folder, shard['name'])] = bounds
            else:
                logging.warning('%s: its offsets of %s are wrong.', index, shard['name'])
    return known


def _index(path: str, known: np.ndarray | None) -> _Shard:
    """Find the records of a shard from its index or its headers.

    A part that is cut off counts as one last, unreadable record.
    """
    try:
        size = tf.io.gfile.stat(path).length
        if known is not None and known[-1] == size:
            return _Shard(path, known, whole=True)
        _check_uncompressed(path)
        bounds = _bounds(path, size)
    except tf.errors.OpError as error:
        raise errors.UserError(f'{path}: {error.message}') from error
    if len(bounds) == 1:
        logging.warning('%s has no records.', path)
    return _Shard(path, np.array(bounds, np.int64), whole=bounds[-1] == size)


def _check_uncompressed(path: str) -> None:
    with object_store.reporting(path), object_store.File(path) as file:
        head = file.read(HEADER.size)
    kind = _compression(head)
    if kind is not None and _data_length(head) is None:
        raise errors.UserError(
            f'{path} is compressed with {kind}, but records are read in any order. Decompress the '
            'shards first' + (', for example with gunzip.' if kind == 'GZIP' else '.')
        )


def _compression(head: bytes) -> str | None:
    """Return the name of the compression that a file with these first bytes has, or None."""
    if head.startswith(_GZIP):
        return 'GZIP'
    # RFC 1950: the method is in the lower half of the first byte, and both are a multiple of 31.
    is_zlib = (
        len(head) > 1 and head[0] & 15 == _DEFLATE and int.from_bytes(head[:2], 'big') % 31 == 0
    )
    return 'ZLIB' if is_zlib else None


def _bounds(path: str, size: int) -> list[int]:
    """Return `_Shard.bounds` from the headers; the last is beyond the end of a cut-off shard."""
    bounds = [0]
    with object_store.reporting(path), tf.io.gfile.GFile(path, 'rb') as file:
        while bounds[-1] < size:
            file.seek(bounds[-1])
            length = _data_length(file.read(HEADER.size))
            frame = size + 1 if length is None else HEADER.size + length + FOOTER_BYTES
            # The length in a damaged header may not fit into an int64.
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
    """Read one record; TensorFlow checks its checksum."""
    # The public class only reads a file from its start; the op that it uses takes an offset.
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path], compression_type='', buffer_size=size, byte_offsets=[offset]
    )
    records = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
    return records.take(1).get_single_element()


def _data_length(header: bytes) -> int | None:
    """Return the length of a record's data, or None if its header is cut off or garbled."""
    if len(header) < HEADER.size:
        return None
    length, checksum = HEADER.unpack(header)
    return length if _masked_crc32c(header[:8]) == checksum else None


def _masked_crc32c(data: bytes) -> int:
    """Return the checksum of the TFRecord format: CRC-32C, rotated and shifted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _decode(picture: bytes, name: str) -> np.ndarray:
    if not picture.startswith(_JPEG) or _EXIF in picture:
        # A picture of another format, or one that may be stored on its side.
        return images.decode_frame(picture, name)
    return tf.io.decode_jpeg(picture, channels=3, dct_method='INTEGER_ACCURATE').numpy()
