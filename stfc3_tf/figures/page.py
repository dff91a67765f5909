"""The page of all figures: fonts and sizes for a paper, colours, and the file."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import io
import posixpath
import textwrap
from typing import Any
import warnings

import matplotlib
from matplotlib import axes as mpl_axes
from matplotlib import figure as mpl_figure
from matplotlib import text as mpl_text
from matplotlib.layout_engine import ConstrainedLayoutEngine
import numpy as np
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.figures import lettering
from stfc3_tf.storage import writing

# Inches; the width of the text of a two-column paper.
WIDTH = 6.9
ENDINGS = ('.pdf', '.svg', '.png')
_DOTS_PER_INCH = 300
# In points, and the mean width of a letter as a share of it.
_FONT_SIZE, _CHARACTER = 8, 0.6

# Okabe and Ito's colours, distinct with every kind of colour vision; yellow is too light here.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')
# Styles of the first, second, … line of a plot; when all colours are used, lines are dashed.
LINES: tuple[dict[str, Any], ...] = tuple(
    {'color': colour, 'linestyle': style} for style in ('-', '--', ':') for colour in COLOURS
)

_STYLE: dict[Any, Any] = {
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
    # Text is stored as text, in font types that publishers accept.
    'pdf.fonttype': 42,
    'svg.fonttype': 'none',
    # Names of runs and files may have dollar signs, and are no formulas.
    'text.parse_math': False,
}


def check_ending(output: str, endings: tuple[str, ...] = ENDINGS) -> str:
    """Return the ending of an output; raise UserError unless it is one of `endings`."""
    ending = posixpath.splitext(output)[1].lower()
    if ending not in endings:
        raise errors.UserError(f'{output}: its ending must be one of {", ".join(endings)}.')
    return ending


@contextlib.contextmanager
def page(output: str, height: float, width: float = WIDTH) -> Iterator[mpl_figure.Figure]:
    """Yield an empty figure to draw on; write it if the block ends without an error.

    Args:
      output: path, its ending one of `ENDINGS`; on any file system TensorFlow knows.
      height: in inches.
      width: in inches.

    Yields:
      The figure.

    Raises:
      errors.UserError: another ending, or `output` cannot be written.
    """
    ending = check_ending(output)
    with matplotlib.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        drawn = mpl_figure.Figure(figsize=(width, height), layout=layout)
        yield drawn
        _use_fonts(drawn)
        contents = io.BytesIO()
        with warnings.catch_warnings():
            # The log has a line about it already.
            warnings.filterwarnings('ignore', r'Glyph \d+ .*missing', UserWarning)
            drawn.savefig(
                contents,
                format=ending[1:],
                dpi=_DOTS_PER_INCH,
                bbox_inches='tight',
                pad_inches=0.03,
            )
    try:
        writing.write_bytes(output, contents.getvalue())
    except (OSError, tf.errors.OpError) as error:
        raise errors.UserError(f'{output} cannot be written: {error}') from error


def _use_fonts(figure: mpl_figure.Figure) -> None:
    """Give all texts of a figure the fonts that have their characters."""
    for axes in figure.axes:
        # Labels of ticks have no text before somebody asks.
        axes.get_xticklabels()
        axes.get_yticklabels()
    texts = figure.findobj(mpl_text.Text)
    families = lettering.families([text.get_text() for text in texts])
    for text in texts:
        text.set_fontfamily(families)


def stretch(grid: np.ndarray, pixel_aspect: float) -> None:
    """Show images as players do.

    Args:
      grid: axes with images.
      pixel_aspect: width / height of a pixel of the images as players show it.
    """
    for axes in grid.flat:
        axes.set_aspect(1 / pixel_aspect)


def show(axes: mpl_axes.Axes, image: np.ndarray, title: str = '') -> None:
    """Fill axes with exactly an image, without ticks.

    Args:
      axes: to draw in.
      image: uint8 [height, width, 3].
      title: above the image.
    """
    axes.imshow(image)
    axes.autoscale(False)
    bare(axes)
    axes.set_title(title)


def bare(axes: mpl_axes.Axes) -> None:
    """Remove ticks and frame, but not labels."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def name_rows(grid: np.ndarray, names: list[str], height: float) -> None:
    """Write names to the left of rows.

    Args:
      grid: axes [rows, columns].
      names: one per row.
      height: of a row, in inches; long names are wrapped, then shrunk.
    """
    room = 72 * height / (_CHARACTER * _FONT_SIZE)
    for axes, name in zip(grid[:, 0], names):
        lines = textwrap.wrap(name, max(1, int(room)), break_long_words=False)
        shrunk = min(1.0, room / max(map(len, lines), default=1))
        axes.set_ylabel('\n'.join(lines), fontsize=_FONT_SIZE * shrunk)
