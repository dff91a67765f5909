"""Curves of speed."""

import json

import pytest

from stfc3_tf import errors
from stfc3_tf.figures import speed


def measured(tmp_path, **figures):
    curve = {
        'axis': 'objects',
        'values': [1, 5],
        'processor_seconds': [0.5, 0.7],
        'seconds': [1, 2],
    }
    contents = {'machine': 'x', 'measurements': {'input': {'clips': 3}, 'by': {**curve, **figures}}}
    path = tmp_path / 'speed.json'
    path.write_text(json.dumps(contents))
    return str(path)


def test_curves_are_found_among_other_measurements(tmp_path):
    assert speed.read_curves(measured(tmp_path)) == {'objects': ([1, 5], [0.5, 0.7])}


@pytest.mark.parametrize(
    'damage', [{'values': [1]}, {'values': 'many'}, {'axis': None}, {'processor_seconds': [1, 'a']}]
)
def test_a_damaged_file_is_named(damage, tmp_path):
    with pytest.raises(errors.UserError, match='speed.json.*tools.benchmark --what=curves'):
        speed.read_curves(measured(tmp_path, **damage))


def test_lines_have_the_names_of_the_files(tmp_path):
    curves = speed.read_curves(measured(tmp_path))
    speed.speed_curves({'before': curves, 'after': curves}, str(tmp_path / 'figure.svg'))
    drawn = (tmp_path / 'figure.svg').read_text()
    assert all(text in drawn for text in ('objects', 'processor seconds per frame', 'before'))
