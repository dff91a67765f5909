"""Pages: formats, files that are complete or absent, and names beside rows."""

from __future__ import annotations

from matplotlib import figure as mpl_figure
import pytest

from stfc3_tf import errors, figures
from stfc3_tf.figures import (
    page,
)

RESULT = {
    'task': 'davis',
    'metrics': {'J': 0.5},
    'sequences': {'dog': {'metrics': {'J': 0.5}}},
}


@pytest.mark.parametrize(
    'ending, start', [('.png', b'\x89PNG'), ('.pdf', b'%PDF'), ('.svg', b'<?xml')]
)
def test_the_ending_chooses_the_format(tmp_path, ending, start):
    path = tmp_path / f'figure{ending}'
    with page.page(str(path), 1.0, 1.5) as figure:
        figure.subplots().set_title('words')
    assert path.read_bytes().startswith(start)
    if ending == '.svg':
        assert '>words</text>' in path.read_text()


@pytest.mark.parametrize('name', ['$5', 'cost_$a$', r'$\\nothing$', '$x^2$'])
def test_dollar_signs_are_drawn_as_they_are(tmp_path, name):
    path = tmp_path / 'figure.svg'
    with page.page(str(path), 1.0, 2.0) as figure:
        axes = figure.subplots()
        axes.plot([1, 2], label=name)
        axes.set_title(name)
        axes.legend()
    assert path.read_text().count(f'>{name}</text>') == 2


def test_nothing_is_written_unless_all_is_drawn(tmp_path):
    path = tmp_path / 'figure.png'
    path.write_bytes(b'older')
    with pytest.raises(ZeroDivisionError), page.page(str(path), 1.0) as figure:
        figure.subplots()
        raise ZeroDivisionError
    assert path.read_bytes() == b'older' and len(list(tmp_path.iterdir())) == 1


def test_impossible_outputs_are_refused(tmp_path):
    with pytest.raises(errors.UserError, match=r'figure.jpg: its ending must be one of .pdf'):
        figures.scores({'a': {}}, None, 'figure.jpg')
    (tmp_path / 'file').write_text('')
    with pytest.raises(errors.UserError, match='b.png cannot be written'):
        figures.scores({'a': RESULT}, None, str(tmp_path / 'file' / 'b.png'))


@pytest.mark.parametrize('name', ['FC3, zero padding', 'a_name_without_a_place_to_break', 'ours'])
def test_names_of_rows_fit_beside_them(name):
    figure = mpl_figure.Figure(figsize=(3, 2))
    grid = figure.subplots(2, 2, squeeze=False)
    page.name_rows(grid, [name, name], 0.6)
    for label in (axes.yaxis.label for axes in grid[:, 0]):
        assert label.get_text().replace('\n', ' ') == name
        assert label.get_window_extent().height / figure.dpi < 0.66
    assert grid[0, 0].yaxis.label.get_fontsize() == 8 or name.count('_') == 6
