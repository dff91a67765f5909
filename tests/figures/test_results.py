"""Bars have the length of the scores."""

from __future__ import annotations

import numpy as np
import pytest

from stfc3_tf import errors, figures
from stfc3_tf.figures import (
    results,
)


def a_result(task='davis', **of_sequence):
    sequences = {
        name: {'metrics': {'J&F-Mean': score, 'J-Mean': 0.0}} for name, score in of_sequence.items()
    }
    scores = [score for score in of_sequence.values() if score is not None]
    return {'task': task, 'metrics': {'J&F-Mean': np.mean(scores)}, 'sequences': sequences}


def test_bars_are_as_long_as_the_scores(tmp_path, drawn):
    given = {
        'ours': a_result(dog=0.5, cows=0.9, libby=None),
        'theirs': a_result(libby=0.3, dog=0.7, cows=0.2),
    }
    figures.scores(given, None, str(tmp_path / 'scores.png'))
    (axes,) = drawn[0].axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ['all sequences', 'cows', 'dog', 'libby']
    lengths = [[bar.get_width() for bar in bars] for bars in axes.containers]
    np.testing.assert_allclose(lengths, [[0.7, 0.9, 0.5, np.nan], [0.4, 0.2, 0.7, 0.3]])
    spans = sorted(
        (bar.get_y(), bar.get_y() + bar.get_height()) for bars in axes.containers for bar in bars
    )
    assert all(end <= start + 1e-9 for (_, end), (start, _) in zip(spans, spans[1:]))
    assert axes.yaxis_inverted() and axes.get_xlabel() == 'J&F-Mean'
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ['ours: 0.700', 'theirs: 0.400']
    assert len({bars[0].get_facecolor() for bars in axes.containers}) == 2


@pytest.mark.parametrize(
    'other, metric, message',
    [
        (a_result('jhmdb', dog=0.1), None, 'a is of the task davis, b of jhmdb'),
        (a_result(cat=0.1), None, 'Only one of a and b has the sequences cat, dog'),
        (a_result(dog=0.1), 'PCK', "a: dog has no metric 'PCK', only J&F-Mean, J-Mean"),
    ],
)
def test_results_that_cannot_be_compared(tmp_path, other, metric, message):
    with pytest.raises(errors.UserError, match=message):
        figures.scores({'a': a_result(dog=0.5), 'b': other}, metric, str(tmp_path / 'scores.png'))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'text, message',
    [
        ('{', 'is not readable as JSON'),
        ('[]', 'is damaged: the whole'),
        ('{"task": "davis", "metrics": {}}', 'is damaged: metrics'),
    ],
)
def test_other_files_than_results(tmp_path, text, message):
    path = tmp_path / 'results.json'
    path.write_text(text)
    with pytest.raises(errors.UserError, match=rf'results.json {message}'):
        results.read_results(str(path))
