"""The reader of all pictures, and the writer of masks.

Pictures are returned upright, as every viewer shows them. 16 bits are reduced to 8, transparent
pixels are black, palettes are resolved. A file that cannot be read raises an error with its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
import io

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from stfc3_tf import errors
from stfc3_tf.storage import files, palette, writing

_OF_SEVERAL = ('GIF', 'PNG', 'TIFF', 'WEBP')
# The least value of the alpha channel of a marked pixel.
OPAQUE = 128
_WITH_ALPHA = ('RGBA', 'LA', 'PA', 'RGBa', 'La')


class UnreadablePicture(errors.UserError):
    """The contents of a file are not a picture that can be decoded.

    Attributes:
      reason: what is wrong, without the name of the file.
    """

    def __init__(self, path: str, reason: str):
        super().__init__(f'{path} is not a readable image ({reason}); unpack the data set again.')
        self.reason = reason


def read_frame(path: str) -> np.ndarray:
    """Return an image file as uint8 [height, width, 3] RGB."""
    return decode_frame(files.read_bytes(path), path)


def read_frames(paths: Iterable[str]) -> Iterator[np.ndarray]:
    """Yield image files one by one as uint8 [height, width, 3] RGB."""
    return map(read_frame, paths)


def decode_frame(contents: bytes, path: str) -> np.ndarray:
    """Return an encoded picture as uint8 [height, width, 3] RGB.

    Args:
      contents: of the file.
      path: of the file, for messages.

    Raises:
      UnreadablePicture: it cannot be decoded.
    """
    image = decode(contents, path)
    try:
        return _rgb(image)
    except Exception as error:
        raise UnreadablePicture(path, errors.one_line(error)) from error


def decode(contents: bytes, path: str) -> Image.Image:
    """Return an encoded picture, upright, in the mode in which it is stored.

    Args:
      contents: of the file.
      path: of the file, for messages.

    Raises:
      UnreadablePicture: it cannot be decoded.
    """
    try:
        _check_single(contents)
        stored = Image.open(io.BytesIO(contents))
        stored.load()
        upright = ImageOps.exif_transpose(stored)
    except UnidentifiedImageError as error:
        raise UnreadablePicture(path, 'its format is not known') from error
    # A damaged image fails anywhere in its decoder; a very large one is refused.
    except Exception as error:
        raise UnreadablePicture(path, errors.one_line(error)) from error
    upright.format = stored.format
    return upright


def header(contents: bytes, path: str) -> Image.Image:
    """Return an encoded picture with its format, mode and size; its pixels are not unpacked.

    Args:
      contents: of the file.
      path: of the file, for messages.

    Raises:
      UnreadablePicture: it is not a picture.
    """
    try:
        return Image.open(io.BytesIO(contents))
    except UnidentifiedImageError as error:
        raise UnreadablePicture(path, 'its format is not known') from error
    except Exception as error:
        raise UnreadablePicture(path, errors.one_line(error)) from error


def read_image(path: str) -> Image.Image:
    """Return an image file, upright, in the mode in which it is stored."""
    return decode(files.read_bytes(path), path)


def size_of(image: np.ndarray) -> tuple[int, int]:
    """Return (height, width) of an image or mask, [height, width, ...]."""
    height, width = image.shape[:2]
    return height, width


def has_alpha(image: Image.Image) -> bool:
    """Return whether an image says which of its pixels are transparent."""
    return image.mode in _WITH_ALPHA or 'transparency' in image.info


def _check_single(contents: bytes) -> None:
    """Raise ValueError where a file holds a whole video or a stack, of which one would be used."""
    image = Image.open(io.BytesIO(contents))
    count = getattr(image, 'n_frames', 1)
    # Photographs may hold a preview, in the format MPO.
    if count > 1 and image.format in _OF_SEVERAL:
        raise ValueError(f'it holds {count} pictures; write each to a file of its own')


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith('I'):
        # Older versions of Pillow give PNG files of 16 bits this mode, too.
        if image.mode == 'I' and image.format != 'PNG':
            raise ValueError('it holds numbers of 32 bits, whose range is not known')
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode == 'F':
        raise ValueError('it holds floating-point numbers, whose range is not known')
    if has_alpha(image):
        image = image.convert('RGBA')
        black = Image.new('RGBA', image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return np.asarray(image.convert('RGB'))


def _eight_bits(numbers: np.ndarray) -> np.ndarray:
    if numbers.min() < 0 or numbers.max() > 0xFFFF:
        raise ValueError(f'it holds {numbers.min()} to {numbers.max()}; a frame has 8 or 16 bits')
    return (numbers // 257).astype(np.uint8)


def read_index_mask(path: str) -> np.ndarray:
    """Return an annotation of a data set as stored numbers, uint8 [height, width].

    Palette images give their indices, grey images (of up to 32 bits) their values, whatever
    transparency they state: viewers' hints do not change a number. Colour images (some copies of
    DAVIS are) give the index of each colour in the DAVIS palette, but 0 and 255 if they are black
    and white. Their transparent pixels are 0; opaque ones are 255 if all are black.

    Raises:
      errors.UserError: unreadable, a number above 255, or a colour that is not in the palette.
    """
    image = read_image(path)
    if image.mode in ('P', 'L', '1'):
        return np.asarray(image if image.mode != '1' else image.convert('L'))
    if image.mode.startswith('I'):
        return _small_numbers(path, np.asarray(image))
    channels = _on_black(image) if has_alpha(image) else np.asarray(image.convert('RGB'))
    if np.all((channels == channels[..., :1]) & ((channels == 0) | (channels == 255))):
        return channels[..., 0]
    index = palette.davis_index(channels)
    if index is None:
        raise errors.UserError(
            f'{path} is a {image.mode} image with colours that are not in the DAVIS palette; '
            'expected a palette PNG whose indices are object numbers.'
        )
    return index


def _on_black(image: Image.Image) -> np.ndarray:
    """Return a mask with transparency as uint8 [height, width, 3]; opaque black becomes white."""
    picture = np.asarray(image.convert('RGBA'))
    opaque = picture[..., 3] >= OPAQUE
    if not opaque.all() and not picture[opaque, :3].any():
        return np.repeat(np.where(opaque, 255, 0).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
    return np.where(opaque[..., np.newaxis], picture[..., :3], 0).astype(np.uint8)


def _small_numbers(path: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.min() < 0 or numbers.max() > 255:
        raise errors.UserError(
            f'{path} holds {numbers.min()} to {numbers.max()}: object numbers are 0 to 255.'
        )
    return numbers.astype(np.uint8)


def write_palette_mask(path: str, mask: np.ndarray) -> None:
    """Write an index mask, uint8 [height, width], as a PNG with the DAVIS palette."""
    writing.write_bytes(path, palette_mask(mask))


def palette_mask(mask: np.ndarray, notes: Mapping[str, str] | None = None) -> bytes:
    """Return an index mask as a PNG with the DAVIS palette.

    Args:
      mask: uint8 [height, width].
      notes: keyword -> text to keep in the file; `decode(...).info` gives it back.
    """
    image = Image.fromarray(mask.astype(np.uint8), mode='P')
    image.putpalette(palette.DAVIS.tobytes())
    chunks = PngImagePlugin.PngInfo()
    for keyword, text in (notes or {}).items():
        chunks.add_text(keyword, text)
    contents = io.BytesIO()
    image.save(contents, format='PNG', pnginfo=chunks)
    return contents.getvalue()
