"""Write one frame of a video as a picture, to mark objects or points in it.

    python -m tools.frame --video=clip.mp4 --frame=40 --output=40.png

The picture is upright and has the size that masks must have and in which points are counted. Frames
of a video are numbered from 0, pictures in a folder as in their names; by default the first is
written. PNG, or JPEG of high quality if the name ends in .jpg.
"""

from __future__ import annotations

from collections.abc import Sequence
import io
import posixpath

from absl import flags
from PIL import Image

from stfc3_tf import checks, errors
from stfc3_tf.clips import decoder, part
from stfc3_tf.commands import command
from stfc3_tf.storage import writing

_VIDEO = flags.DEFINE_string('video', None, 'Video file, or folder of pictures.', required=True)
_FRAME = flags.DEFINE_integer('frame', None, 'Number of the frame; by default the first.')
_OUTPUT = flags.DEFINE_string('output', None, 'Picture to write, .png or .jpg.', required=True)
# Without subsampling, colours have the resolution of the frame.
_JPEG: tuple[str, dict[str, int]] = ('JPEG', {'quality': 95, 'subsampling': 0})
_FORMATS: dict[str, tuple[str, dict[str, int]]] = {
    '.png': ('PNG', {}),
    '.jpg': _JPEG,
    '.jpeg': _JPEG,
}


def main(_: Sequence[str]) -> None:
    """Write the frame and print its size."""
    ending = posixpath.splitext(_OUTPUT.value)[1].lower()
    if ending not in _FORMATS:
        raise errors.UserError(f'--output={_OUTPUT.value}: name a file that ends in .png or .jpg.')
    if _FRAME.value is not None:
        checks.whole_number('--frame', _FRAME.value, least=0)
    writing.check_file(_OUTPUT.value)
    video = part.open_part(_VIDEO.value, decoder.ASSUMED_RATE)
    number = video.first if _FRAME.value is None else _FRAME.value
    frame = next(video.frames(number))
    if frame.number != number:
        raise errors.UserError(f'{video.name} has no frame {number}; the next is {frame.number}.')
    contents = io.BytesIO()
    kind, options = _FORMATS[ending]
    Image.fromarray(frame.image).save(contents, kind, **options)
    writing.write_bytes(_OUTPUT.value, contents.getvalue())
    height, width = video.size
    print(
        f'Wrote {_OUTPUT.value}: frame {number} at {frame.time:.3f} s, {width}x{height} pixels '
        f'(width x height). x goes from 0 to {width - 1}, y from 0 (top) to {height - 1}.'
    )


if __name__ == '__main__':
    command.run(main)
