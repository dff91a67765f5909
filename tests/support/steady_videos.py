"""Videos as the commands write them, at a constant rate."""

from stfc3_tf.clips import video_writer


def write(path, frames, rate):
    """Write frames, uint8 [height, width, 3] each, at so many per second; return their number."""
    timed = ((number / rate, frame) for number, frame in enumerate(frames))
    return video_writer.write_timed_video(str(path), timed, rate)
