"""TFRecord shards of given frames, as preparation writes them."""

from stfc3_tf.clips import shard_writer


def record(frames, times, name, quality=95):
    """Return the record of one video.

    Args:
      frames: uint8 [height, width, 3] each.
      times: of the frames, in seconds.
      name: where the video came from.
      quality: of the JPEG pictures, up to 100.
    """
    pictures = [
        shard_writer.encoded(frame, time, quality)
        for frame, time in zip(frames, times, strict=True)
    ]
    return shard_writer.record_of(pictures, name)


def write(path, records):
    """Write a shard; return its writer."""
    writer = shard_writer.ShardWriter(str(path))
    for each in records:
        writer.write(each)
    writer.finish()
    return writer
