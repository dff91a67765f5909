"""What all figures share: type and size for a paper, colours, and the file they end in."""

from __future__ import annotations

import contextlib
import io
import posixpath
import textwrap
from collections.abc import Iterator

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure

from stfc3_tf import errors, writing

# Inches; the text of a two-column paper.
WIDTH = 6.9
ENDINGS = ('.pdf', '.svg', '.png')
_DOTS_PER_INCH = 300
# Points, and the mean width of a letter in heights of the type.
_FONT_SIZE, _CHARACTER = 8, 0.6

# Okabe and Ito's colours, told apart with any colour vision; yellow is too light for a line.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
# How the first, second, ... line of a plot looks; after the colours they go on dashed.
LINES = tuple(
    {'color': colour, 'linestyle': style} for style in ('-', '--', ':') for colour in COLOURS
)

_STYLE = {
    'font.size': _FONT_SIZE,
    'axes.titlesize': _FONT_SIZE,
    'axes.labelsize': _FONT_SIZE,
    'xtick.labelsize': 7,
    'ytick.labelsize': 7,
    'legend.fontsize': 7,
    'legend.frameon': False,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.linewidth': 0.6,
    'xtick.major.width': 0.6,
    'ytick.major.width': 0.6,
    'lines.linewidth': 1.2,
    # Text stays text, in fonts that publishers accept.
    'pdf.fonttype': 42,
    'svg.fonttype': 'none',
}


def check_ending(output: str, endings: tuple[str, ...] = ENDINGS) -> str:
    """Returns the ending of an output; raises UserError if it is none of `endings`."""
    ending = posixpath.splitext(output)[1].lower()
    if ending not in endings:
        raise errors.UserError(f'{output}: its ending must be one of {", ".join(endings)}.')
    return ending


@contextlib.contextmanager
def page(output: str, height: float, width: float = WIDTH) -> Iterator[mpl_figure.Figure]:
    """Yields an empty figure to draw on, and writes it once that is done.

    Args:
      output: path, its ending one of `ENDINGS`; on any file system TensorFlow knows.
      height: inches.
      width: inches.

    Raises:
      errors.UserError: another ending, or `output` cannot be written.
    """
    ending = check_ending(output)
    with matplotlib.rc_context(_STYLE):
        drawn = mpl_figure.Figure(figsize=(width, height), layout='constrained')
        drawn.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        yield drawn
        contents = io.BytesIO()
        drawn.savefig(
            contents, format=ending[1:], dpi=_DOTS_PER_INCH, bbox_inches='tight', pad_inches=0.03
        )
    try:
        writing.write_bytes(output, contents.getvalue())
    except (OSError, tf.errors.OpError) as error:
        raise errors.UserError(f'{output} cannot be written: {error}') from error


def show(axes: mpl_axes.Axes, image: np.ndarray, title: str = '') -> None:
    """Fills axes, without ticks, with an image, uint8 [height, width, 3], and no more than it."""
    axes.imshow(image)
    axes.autoscale(False)
    bare(axes)
    axes.set_title(title)


def bare(axes: mpl_axes.Axes) -> None:
    """Takes ticks and frame away; labels stay."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def name_rows(grid: np.ndarray, names: list[str], height: float) -> None:
    """Writes names left of the rows of axes [rows, columns], `height` inches high each."""
    room = 72 * height / (_CHARACTER * _FONT_SIZE)
    for axes, name in zip(grid[:, 0], names):
        lines = textwrap.wrap(name, max(1, int(room)), break_long_words=False)
        shrunk = min(1.0, room / max(map(len, lines), default=1))
        axes.set_ylabel('\n'.join(lines), fontsize=_FONT_SIZE * shrunk)
