"""Figures show the numbers they were given, and the numbers are right."""

from __future__ import annotations

import itertools
import json

import av
import numpy as np
import pytest
import tensorflow as tf
from matplotlib import figure as mpl_figure
from PIL import Image

from stfc3_tf import errors, figures, pictures
from stfc3_tf.benchmarks import faces, files, jhmdb
from stfc3_tf.clips import video_writer
from stfc3_tf.encoder import CellGrid
from stfc3_tf.figures import benchmark_labels, encoders, events, overlays, page, results, stretch


@pytest.fixture
def drawn(monkeypatch):
    """Figures in the order in which they are written."""
    kept, write = [], mpl_figure.Figure.savefig

    def keep(figure, *arguments, **named):
        kept.append(figure)
        return write(figure, *arguments, **named)

    monkeypatch.setattr(mpl_figure.Figure, 'savefig', keep)
    return kept


class BlockColours:
    """An encoder whose features are the pixels at the centres of its cells and a constant."""

    cell_grid = CellGrid(0.0, 8)

    def features(self, frames):
        colours = np.asarray(frames, np.float32)[:, ::8, ::8] / 255
        return np.concatenate([colours, np.ones_like(colours[..., :1])], axis=-1)


class Positions:
    """An encoder that has collapsed: its features tell where a cell is and nothing else."""

    cell_grid = CellGrid(0.0, 8)

    def features(self, frames):
        count, height, width = frames.shape[0], frames.shape[1] // 8, frames.shape[2] // 8
        return np.tile(
            np.eye(height * width, dtype=np.float32).reshape(1, height, width, -1), (count, 1, 1, 1)
        )


def random_frames(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


# ---- the page


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


def test_nothing_is_written_unless_all_is_drawn(tmp_path):
    path = tmp_path / 'figure.png'
    path.write_bytes(b'older')
    with pytest.raises(ZeroDivisionError), page.page(str(path), 1.0) as figure:
        figure.subplots()
        raise ZeroDivisionError
    assert path.read_bytes() == b'older' and len(list(tmp_path.iterdir())) == 1


def test_outputs_that_cannot_be(tmp_path):
    with pytest.raises(errors.UserError, match=r'figure.jpg: its ending must be one of .pdf'):
        figures.scores({'a': {}}, None, 'figure.jpg')
    (tmp_path / 'file').write_text('')
    with pytest.raises(errors.UserError, match='b.png cannot be written'):
        figures.scores({'a': a_result(dog=0.5)}, None, str(tmp_path / 'file' / 'b.png'))


@pytest.mark.parametrize('name', ['FC3, zero padding', 'a_name_without_a_place_to_break', 'ours'])
def test_names_of_rows_fit_beside_them(name):
    figure = mpl_figure.Figure(figsize=(3, 2))
    grid = figure.subplots(2, 2, squeeze=False)
    page.name_rows(grid, [name, name], 0.6)
    for label in (axes.yaxis.label for axes in grid[:, 0]):
        assert label.get_text().replace('\n', ' ') == name
        assert label.get_window_extent().height / figure.dpi < 0.66
    assert grid[0, 0].yaxis.label.get_fontsize() == 8 or name.count('_') == 6


# ---- scores


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
        (a_result(dog=0.1), 'PCK', "a: dog has no figure 'PCK', only J&F-Mean, J-Mean"),
    ],
)
def test_results_that_cannot_be_compared(tmp_path, other, metric, message):
    with pytest.raises(errors.UserError, match=message):
        figures.scores({'a': a_result(dog=0.5), 'b': other}, metric, str(tmp_path / 'scores.png'))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'text, message',
    [
        ('{', 'is not JSON'),
        ('[]', 'lacks task'),
        ('{"task": "davis", "metrics": {}}', 'lacks task'),
    ],
)
def test_other_files_than_results(tmp_path, text, message):
    path = tmp_path / 'results.json'
    path.write_text(text)
    with pytest.raises(errors.UserError, match=rf'results.json {message}'):
        results.read_results(str(path))


# ---- curves


def write_events(folder, *parts, tag='train/loss'):
    """One event file for each part: step -> value."""
    for values in parts:
        writer = tf.summary.create_file_writer(str(folder))
        with writer.as_default():
            tf.summary.text('configuration', 'words', step=min(values))
            for step, value in values.items():
                tf.summary.scalar(tag, value, step=step)
                tf.summary.image('pictures/views', np.zeros((1, 2, 2, 3), np.uint8), step=step)
        writer.close()


def test_scalars_are_those_written(tmp_path):
    tmp_path = tmp_path / 'run [lr=1e-4]'  # A name, not a pattern.
    write_events(tmp_path / 'tensorboard', {10: 3.5, 20: 2.25, 30: float('nan')})
    scalars = events.read_scalars(str(tmp_path))
    assert list(scalars) == ['train/loss']
    steps, values = scalars['train/loss']
    np.testing.assert_array_equal(steps, [10, 20, 30])
    np.testing.assert_array_equal(values, [3.5, 2.25, np.nan])
    np.testing.assert_array_equal(
        events.read_scalars(f'{tmp_path}/tensorboard')['train/loss'][0], steps
    )


def test_of_steps_taken_twice_the_later_count(tmp_path):
    """Killed after step 50, resumed from 20 at another interval, killed at 45, resumed from 40."""
    first = {step: step + 0.0 for step in range(10, 60, 10)}
    write_events(tmp_path, first, {25: 25.5, 35: 35.5, 40: 40.5, 45: 45.5}, {50: 50.5, 60: 60.5})
    steps, values = events.read_scalars(str(tmp_path))['train/loss']
    np.testing.assert_array_equal(steps, [10, 20, 25, 35, 40, 45, 50, 60])
    np.testing.assert_array_equal(values, [10, 20, 25.5, 35.5, 40.5, 45.5, 50.5, 60.5])


def test_a_file_that_ends_within_a_record(tmp_path):
    write_events(tmp_path, {1: 1.0, 2: 2.0, 3: 3.0})
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-200])
    steps, _ = events.read_scalars(str(tmp_path))['train/loss']
    assert 0 < len(steps) < 4 and steps[0] == 1


def test_runs_without_scalars(tmp_path):
    with pytest.raises(errors.UserError, match='holds no TensorBoard event files'):
        events.read_scalars(str(tmp_path))
    tf.summary.create_file_writer(str(tmp_path)).close()
    with pytest.raises(errors.UserError, match='hold no scalars yet'):
        events.read_scalars(str(tmp_path))


def test_smoothing_is_a_weighted_mean_of_what_came_before():
    values = [4.0, 1.0, np.nan, 7.0, 2.0]
    for weight in (0.0, 0.6, 0.95):
        for n, found in enumerate(events.smoothed(np.array(values), weight)):
            # TensorBoard does not count what is not finite.
            past = [value for value in values[: n + 1] if np.isfinite(value)]
            weights = [weight ** (len(past) - 1 - i) for i in range(len(past))]
            assert found == pytest.approx(np.dot(weights, past) / sum(weights))


def lines_of(axes):
    return {
        line.get_label(): line.get_xydata()
        for line in axes.get_lines()
        if line.get_label()[0] != '_'
    }


def test_curves_pass_through_what_was_written(tmp_path, drawn):
    write_events(tmp_path / 'a', {10: 3.0, 20: 1.0})
    write_events(tmp_path / 'a', {0: 1.0, 20: 500.0}, tag='probe/collapse_ratio')
    write_events(tmp_path / 'b', {5: 2.0, 15: 4.0})
    runs = {'first': str(tmp_path / 'a'), 'second': str(tmp_path / 'b')}
    figures.training_curves(runs, None, str(tmp_path / 'curves.png'))
    loss, collapse = drawn[0].axes
    np.testing.assert_array_equal(lines_of(loss)['first'], [[10, 3], [20, 1]])
    np.testing.assert_array_equal(lines_of(loss)['second'], [[5, 2], [15, 4]])
    np.testing.assert_array_equal(lines_of(collapse)['first'], [[0, 1], [20, 500]])
    assert len(lines_of(collapse)['second']) == 0
    assert (loss.get_ylabel(), collapse.get_ylabel()) == ('loss', 'collapse ratio')
    assert (loss.get_yscale(), collapse.get_yscale()) == ('linear', 'log')
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ['first', 'second']


def test_a_smoothed_curve_has_its_own_colour_and_the_raw_one_behind(tmp_path, drawn):
    write_events(tmp_path / 'a', {1: 3.0, 2: 1.0, 3: 8.0})
    runs = {'first': str(tmp_path / 'a'), 'second': str(tmp_path / 'a')}
    figures.training_curves(runs, ['train/loss'], str(tmp_path / 'curves.png'), smoothing=0.5)
    smooth, raw, other, _ = drawn[0].axes[0].get_lines()
    np.testing.assert_allclose(smooth.get_ydata(), [3, (1.5 + 1) / 1.5, (0.75 + 0.5 + 8) / 1.75])
    np.testing.assert_array_equal(raw.get_ydata(), [3, 1, 8])
    assert smooth.get_color() == raw.get_color() == page.COLOURS[0]
    assert other.get_color() == page.COLOURS[1]


def test_curves_that_cannot_be_drawn(tmp_path):
    write_events(tmp_path / 'a', {1: 3.0})
    runs, output = {'first': str(tmp_path / 'a')}, str(tmp_path / 'curves.png')
    with pytest.raises(errors.UserError, match='No run has the scalar loss; first have train/loss'):
        figures.training_curves(runs, ['loss'], output)
    with pytest.raises(errors.UserError, match='smoothing=1: give'):
        figures.training_curves(runs, None, output, smoothing=1.0)


def test_loss_against_quality(tmp_path, drawn):
    points = {'fc3': [(0, 9.0, 0.5), (10, 1.0, 0.2)], 'stfc3': [(0, 9.0, 0.5), (10, 5.0, 0.7)]}
    figures.loss_against_quality(points, str(tmp_path / 'a.png'), 'J')
    path, last, *_ = drawn[0].axes[0].get_lines()
    np.testing.assert_array_equal(path.get_xydata(), [[9, 0.5], [1, 0.2]])
    np.testing.assert_array_equal(last.get_xydata(), [[1, 0.2]])
    with pytest.raises(errors.UserError, match='late: there is no step'):
        figures.loss_against_quality({'late': []}, str(tmp_path / 'b.png'))


# ---- affinities


def transition_by_loops(first, second, temperature):
    """Equation (3) of the paper on feature maps [rows, columns, channels]."""
    first, second = (maps.reshape(-1, maps.shape[-1]) for maps in (first, second))
    first, second = (
        maps / np.linalg.norm(maps, axis=-1, keepdims=True) for maps in (first, second)
    )
    matrix = np.zeros((len(first), len(second)))
    for i, here in enumerate(first):
        weights = [np.exp(np.dot(here, there) / temperature) for there in second]
        for j, weight in enumerate(weights):
            matrix[i, j] = weight / sum(weights)
    return matrix


def test_affinities_are_those_of_the_equation(tmp_path, drawn):
    frames = random_frames(3, 32, 40)
    figures.affinities(
        {'colours': BlockColours()},
        (frames[0], frames[1]),
        (frames[0], frames[2]),
        str(tmp_path / 'a.png'),
        temperature=0.1,
    )
    axes = drawn[0].axes
    maps = BlockColours().features(frames)
    ratios = []
    for panel, other in zip(axes[2:4], (1, 2)):
        expected = transition_by_loops(maps[0], maps[other], 0.1)
        shown = panel.images[0].get_array()
        np.testing.assert_allclose(shown, expected, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(shown.sum(axis=1), 1, rtol=1e-5)
        ratios.append(np.mean([expected[i, i] for i in range(20)]) * 20)
    assert axes[2].get_title() == f'diagonal {ratios[0]:.3g} x chance'
    assert axes[3].get_title() == f'collapse ratio {ratios[1]:.3g}'
    assert axes[2].images[0].norm is axes[3].images[0].norm
    assert axes[2].get_ylabel() == 'colours'


def test_a_collapsed_encoder_is_seen_at_once(tmp_path, drawn):
    frames = random_frames(3, 32, 32)
    models = {'collapsed': Positions(), 'colours': BlockColours()}
    pairs = (frames[0], frames[1]), (frames[0], frames[2])
    figures.affinities(models, *pairs, str(tmp_path / 'a.png'), temperature=0.01)
    collapsed, other = (drawn[0].axes[number] for number in (3, 5))
    assert collapsed.get_title() == 'collapse ratio 16'
    np.testing.assert_allclose(collapsed.images[0].get_array(), np.eye(16), atol=1e-6)
    assert float(other.get_title().split()[-1]) < 4


def test_affinities_of_frames_of_different_sizes(tmp_path):
    one, other = np.zeros((16, 16, 3), np.uint8), np.zeros((16, 24, 3), np.uint8)
    with pytest.raises(errors.UserError, match='frames of one size'):
        figures.affinities({'a': Positions()}, (one, one), (one, other), str(tmp_path / 'a.png'))


# ---- features


def test_each_pixel_has_the_colour_of_its_nearest_cell():
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(3, 4, 5))
    basis = pictures.pca_basis(maps)
    colours = pictures.pca_colours(maps, basis)
    shown = encoders.feature_colours(maps, basis, CellGrid(3.0, 8), (21, 35))
    for y, x in itertools.product(range(21), range(35)):
        row = np.argmin([abs(y - (3 + 8 * i)) for i in range(3)])
        column = np.argmin([abs(x - (3 + 8 * i)) for i in range(4)])
        if (y - 3) % 8 != 4 and (x - 3) % 8 != 4:  # There two cells are equally near.
            np.testing.assert_array_equal(shown[y, x], colours[row, column])


def test_a_feature_has_one_colour_in_all_frames(tmp_path, drawn):
    frames = random_frames(3, 32, 40)
    frames[2, :, 16:] = frames[0, :, 16:]
    figures.features({'colours': BlockColours()}, frames, str(tmp_path / 'a.png'), [0, 0.5, 1])
    images = [axes.images[0].get_array() for axes in drawn[0].axes]
    np.testing.assert_array_equal(images[:3], frames)
    first, second, third = images[3:]
    np.testing.assert_array_equal(first[:, 20:], third[:, 20:])
    assert (first[:, :12] != third[:, :12]).any() and (first[:, 20:] != second[:, 20:]).any()
    assert [axes.get_title() for axes in drawn[0].axes[:3]] == ['0.00 s', '0.50 s', '1.00 s']
    assert [axes.get_ylabel() for axes in drawn[0].axes[::3]] == ['frames', 'colours']


def test_a_video_of_features(tmp_path):
    frames = random_frames(5, 8, 10).repeat(8, axis=1).repeat(8, axis=2)
    frames[4] = frames[0]
    path = str(tmp_path / 'a.mp4')
    timed = ((number / 10, frame) for number, frame in enumerate(frames))
    assert figures.feature_video({'colours': BlockColours()}, frames, timed, 10.0, path) == 5
    with av.open(path) as container:
        shown = [
            frame.to_ndarray(format='rgb24').astype(int) for frame in container.decode(video=0)
        ]
    assert len(shown) == 5 and shown[0].shape[1] == 80 + 4 + 80
    video, features = shown[0][-64:, :80], shown[0][-64:, 84:]
    assert np.abs(video - frames[0]).mean() < 12
    basis = pictures.pca_basis(encoders.encode(BlockColours(), frames))
    maps = encoders.encode(BlockColours(), frames[:1])[0]
    expected = encoders.feature_colours(maps, basis, CellGrid(0.0, 8), (64, 80))
    # Colour is coded at half the resolution.
    assert np.abs(features - expected).mean() < 20 < np.abs(features[::-1] - expected).mean()
    assert np.abs(shown[4] - shown[0]).mean() < 3 < np.abs(shown[3] - shown[0]).mean()
    with pytest.raises(errors.UserError, match='its ending must be one of .mp4'):
        figures.feature_video({}, frames, [], 10.0, str(tmp_path / 'a.avi'))


# ---- labels


def square(top, left, side, number=1, size=(24, 32)):
    mask = np.zeros(size, np.uint8)
    mask[top : top + side, left : left + side] = number
    return mask


def test_overlap_is_the_mean_over_objects_without_void():
    truth = square(2, 2, 8) + square(12, 20, 4, 2)
    predicted = square(2, 6, 8) + square(12, 20, 4, 3)
    # Object 1: 4 x 8 of 12 x 8 pixels; 2 is missed and 3 is invented.
    assert overlays.mean_overlap(truth, predicted) == pytest.approx((1 / 3 + 0 + 0) / 3)
    truth[2:10, 10:14] = 255
    truth[12:16, 20:24] = 255
    assert overlays.mean_overlap(truth, predicted) == pytest.approx(4 / 8)
    assert np.isnan(overlays.mean_overlap(square(0, 0, 0), square(0, 0, 0)))


def test_masks_are_drawn_where_they_are(tmp_path, drawn):
    frames = {'00000': random_frames(24, 32), '00007': random_frames(24, 32, seed=1)}
    truth = {'00000': square(2, 2, 8), '00007': square(4, 4, 8)}
    rows = {'ours': truth, 'theirs': {'00000': square(2, 2, 8), '00007': square(4, 8, 8)}}
    figures.labels(frames, truth, rows, str(tmp_path / 'a.png'))
    axes = np.reshape(drawn[0].axes, (3, 2))
    assert [ax.get_title() for ax in axes[0]] == ['00000', '00007']
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ['truth', 'ours', 'theirs']
    assert [ax.get_xlabel() for ax in axes[1:].flat] == [
        'IoU 1.00',
        'IoU 1.00',
        'IoU 1.00',
        'IoU 0.33',
    ]
    for ax, labels in zip(axes[:, 1], (truth, *rows.values())):
        changed = np.any(ax.images[0].get_array() != frames['00007'], axis=-1)
        np.testing.assert_array_equal(changed & (labels['00007'] == 0), False)
        assert changed[labels['00007'] > 0].mean() > 0.95
    # The outline of the truth in both rows: between the pixels 3 and 4, and 11 and 12.
    for ax in axes[1:, 1]:
        (outline,) = (c for c in ax.collections if len(c.get_paths()))
        points = outline.get_paths()[0].vertices
        np.testing.assert_allclose([points.min(0), points.max(0)], [[3.5, 3.5], [11.5, 11.5]])


def test_points_are_drawn_where_they_are(tmp_path, drawn):
    frame = {'a': random_frames(24, 32)}
    truth = np.array([[3.0, 4.0], [10.0, 10.0], [20.0, 5.0], [np.nan, np.nan]])
    found = np.array([[6.0, 8.0], [10.0, 11.0], [np.nan, np.nan], [1.0, 1.0]])
    figures.labels(frame, {'a': truth}, {'ours': {'a': found}}, str(tmp_path / 'a.png'))
    true, predicted = drawn[0].axes
    assert predicted.get_xlabel() == '3.0 px, 1 lost'
    for ax, points in ((true, truth), (predicted, found)):
        np.testing.assert_array_equal(np.ma.filled(ax.collections[0].get_offsets(), np.nan), points)
        assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 31.5), (23.5, -0.5))
    np.testing.assert_array_equal(predicted.get_lines()[0].get_xydata(), [[6, 8], [3, 4]])


def test_labels_that_do_not_belong_together(tmp_path):
    frame, mask = {'a': random_frames(24, 32)}, {'a': square(2, 2, 8)}
    for other in (np.zeros((4, 2)), np.zeros((24, 30), np.uint8)):
        with pytest.raises(errors.UserError, match='ours, frame a: .* against true mask'):
            figures.labels(frame, mask, {'ours': {'a': other}}, str(tmp_path / 'a.png'))


def save_mask(path, mask):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)


def test_masks_are_read_by_name_or_by_number(tmp_path):
    names = ['00005', '00006', '00007']
    for name in ('00006', '00007', '00009'):
        save_mask(tmp_path / 'named' / f'{name}.png', square(1, 1, int(name[-1])))
    labels = benchmark_labels.read_labels(str(tmp_path / 'named'), names, (24, 32))
    assert list(labels) == ['00006', '00007']
    np.testing.assert_array_equal(labels['00007'], square(1, 1, 7))
    for number in (0, 2):
        save_mask(tmp_path / 'numbered' / f'{number:06d}.png', square(1, 1, 5 + number))
    labels = benchmark_labels.read_labels(str(tmp_path / 'numbered'), names, (24, 32))
    assert list(labels) == ['00005', '00007']
    np.testing.assert_array_equal(labels['00007'], square(1, 1, 7))


def test_masks_by_number_beside_frames_whose_names_begin_at_1(tmp_path):
    names = ['000001', '000002', '000003']
    for number in range(3):
        save_mask(tmp_path / 'masks' / f'{number:06d}.png', square(1, 1, 5 + number))
    labels = benchmark_labels.read_labels(str(tmp_path / 'masks'), names, (24, 32))
    assert list(labels) == names
    np.testing.assert_array_equal(labels['000002'], square(1, 1, 6))


def test_255_alone_is_the_object_and_beside_others_void(tmp_path):
    for number, mask in enumerate((square(1, 1, 5, 255), square(2, 2, 5, 255))):
        save_mask(tmp_path / '2016' / f'{number}.png', mask)
        save_mask(tmp_path / '2017' / f'{number}.png', mask + square(12, 12, 3, number))
    names = ['0', '1']
    binary = benchmark_labels.read_labels(str(tmp_path / '2016'), names, (24, 32))
    np.testing.assert_array_equal(binary['1'], square(2, 2, 5))
    several = benchmark_labels.read_labels(str(tmp_path / '2017'), names, (24, 32))
    np.testing.assert_array_equal(several['1'], square(2, 2, 5, 255) + square(12, 12, 3))


def test_points_are_read_as_the_benchmarks_write_them(tmp_path):
    names, points = ['x', 'y'], np.random.default_rng(0).uniform(0, 20, (2, 15, 2))
    points[1, 3] = np.nan
    path = str(tmp_path / 'joint_positions.mat')
    jhmdb.write_joints(path, points)
    joints = benchmark_labels.read_labels(path, names, (24, 32))
    np.testing.assert_allclose([joints['x'], joints['y']], points)
    beyond = points.copy()
    beyond[0, 0] = [31.5, 3]
    jhmdb.write_joints(path, beyond)
    joints = benchmark_labels.read_labels(path, names, (24, 32))
    assert np.isnan(joints['x'][0]).all() and np.isfinite(joints['x'][1:]).all()

    landmarks = np.random.default_rng(1).uniform(0, 20, (68, 2)).round(2)
    faces.write_landmarks(str(tmp_path / 'annot' / '000002.pts'), landmarks)
    found = benchmark_labels.read_labels(str(tmp_path / 'annot'), names, (24, 32))
    assert list(found) == ['y']
    np.testing.assert_allclose(found['y'], landmarks)

    entry = {
        'image_path': 'DAVIS/x/y.jpg',
        'joints': [[540, 480], [0, 0]],
        'visibility': [True, False],
    }
    (tmp_path / 'cow.json').write_text(json.dumps([entry]))
    found = benchmark_labels.read_labels(str(tmp_path / 'cow.json'), names, (24, 32))
    np.testing.assert_allclose(found['y'], [[8, 12], [np.nan, np.nan]])


def test_masks_of_a_clip_in_one_file(tmp_path):
    parts = np.stack([square(2, 2, 5, 7), square(3, 3, 5, 2)], axis=-1)
    path = str(tmp_path / 'puppet_mask.mat')
    files.write_mat(path, part_mask=parts)
    masks = benchmark_labels.read_labels(path, ['a', 'b', 'c'], (24, 32))
    assert list(masks) == ['a', 'b']
    np.testing.assert_array_equal(masks['b'], square(3, 3, 5))


def test_labels_that_cannot_be_read(tmp_path):
    save_mask(tmp_path / 'masks' / '0.png', square(1, 1, 5))
    (tmp_path / 'a.json').write_text('{"a": 1}')
    for name, message in (
        ('masks', r'frame 0 is 32x24 \(width x height\), expected 40x24'),
        ('a.json', 'is not a BADJA annotation'),
        ('nothing', 'expected a folder of .png masks'),
    ):
        with pytest.raises(errors.UserError, match=message):
            benchmark_labels.read_labels(str(tmp_path / name), ['0'], (24, 40))


# ---- parts of a video


@pytest.fixture(scope='module')
def film(tmp_path_factory):
    """20 frames at 10 a second, frame n of brightness 10 n."""
    path = str(tmp_path_factory.mktemp('film') / 'film.mp4')
    shades = [np.full((32, 40, 3), 10 * number, np.uint8) for number in range(20)]
    video_writer.write_video(path, shades, 10.0)
    return path


def numbers(frames):
    return np.rint(np.mean(frames, axis=(1, 2, 3)) / 10).tolist()


def test_frames_are_spread_over_a_part(film):
    times, frames = stretch.Stretch(film).spread(3)
    np.testing.assert_allclose(times, [0, 1, 1.9], atol=0.051)
    assert numbers(frames)[::2] == [0, 19]
    part = stretch.Stretch(film, 0.5, 0.4)
    times, frames = part.spread(5)
    assert numbers(frames) == [5, 6, 7, 8, 9] and part.frame_rate == pytest.approx(10)
    np.testing.assert_allclose(times, [0.5, 0.6, 0.7, 0.8, 0.9], atol=1e-4)
    assert numbers(stretch.Stretch(film, 1.0, 1.0).spread(10)[1]) == list(range(10, 20))


@pytest.mark.parametrize(
    'start, duration, count, message',
    [
        (0.0, None, 21, '20 frames in the part asked for, 21 are wanted'),
        (2.5, None, 1, 'ends at 1.900 s; frames from 2.5 s are asked'),
        (1.0, 1.5, 1, 'ends at 1.900 s; frames from 1 s to 2.5 s are asked'),
    ],
)
def test_videos_shorter_than_asked(film, start, duration, count, message):
    with pytest.raises(errors.UserError, match=message):
        stretch.Stretch(film, start, duration).spread(count)


def test_frames_have_names(film, tmp_path):
    assert stretch.frame_names(film)[:2] == ['000000', '000001']
    found = stretch.read_named(film, ['000003', '000012'])
    assert list(found) == ['000003', '000012'] and numbers(list(found.values())) == [3, 12]
    for name, shade in (('frame_10', 100), ('frame_9', 90)):
        Image.fromarray(np.full((32, 40, 3), shade, np.uint8)).save(tmp_path / f'{name}.png')
    assert stretch.frame_names(str(tmp_path)) == ['frame_9', 'frame_10']
    assert numbers(list(stretch.read_named(str(tmp_path), ['frame_10']).values())) == [10]
