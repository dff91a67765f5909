"""Synthetic scenes as a benchmark: the truth is perfect, a copy is not, features are between."""

import json
import pathlib

from colour_neighbourhoods import GRID, neighbourhoods
import numpy as np
from PIL import Image
import pytest

from stfc3_tf import clips, errors
from stfc3_tf.benchmarks import metrics, runner, synthetic_scenes, tasks
from stfc3_tf.clips import synthetic
from stfc3_tf.commands import configuration
from stfc3_tf.propagation import codecs, propagator, tracks
from stfc3_tf.propagation import tracker as tracking
from stfc3_tf.propagation.extractor import FunctionExtractor

EXACT = tracks.TrackCodec(codecs.PointCodec(convention='exact', sigma=0.75))
SMALL = dict(scenes=2, frames=5, height=96, width=128, track_codec=EXACT)


class Truth:
    """Answers with a scene's own masks and points."""

    def __init__(self, number):
        self._scene = synthetic.scene(synthetic_scenes.HELD_OUT_SEED + number, 96, 128)

    def settings(self):
        return {'model': 'truth'}

    def track(self, frames, first_label, codec, label_size):
        del first_label, codec, label_size
        seen = self._scene.visible(0.0)
        for number, frame in enumerate(frames):
            time = number / 8
            np.testing.assert_array_equal(frame, self._scene.frame(time))
            points = np.concatenate(
                [self._scene.points(time), self._scene.visible(time)[:, None]], axis=1
            )
            yield synthetic_scenes.SceneLabel(self._scene.masks(time), points[seen])


@pytest.mark.parametrize('number', [0, 1])
def test_the_truth_scores_one(number):
    sequence = synthetic_scenes.SyntheticBenchmark(**SMALL).sequences()[number]
    scores = sequence.score(sequence.track(Truth(number)))
    assert scores == {
        'J-Mean': 1,
        'Position-Accuracy': 1,
        'Occlusion-Accuracy': 1,
        'Average-Jaccard': 1,
    }


def test_copying_is_scored_by_the_motion():
    sequence = synthetic_scenes.SyntheticBenchmark(**SMALL).sequences()[0]
    scores = sequence.score(sequence.track(tracking.CopyFirst()))
    scene = synthetic.scene(synthetic_scenes.HELD_OUT_SEED, 96, 128)
    seen, hits, ious = scene.visible(0.0), [], []
    for time in np.arange(1, 5) / 8:
        moved = (scene.points(time) - scene.points(0.0)) * (256 / 128, 256 / 96)
        near = np.hypot(*moved.T)[:, None] < metrics.TAPVID_THRESHOLDS
        hits.append(near[seen & scene.visible(time)])
        for label in range(1, scene.masks(0.0).max() + 1):
            before, after = scene.masks(0.0) == label, scene.masks(time) == label
            union = np.sum(before | after)
            ious.append(np.sum(before & after) / union if union else 1)
    assert scores['Position-Accuracy'] == pytest.approx(np.concatenate(hits).mean())
    assert scores['J-Mean'] == pytest.approx(np.mean(ious))


def test_predictions_are_written_and_figures_averaged(tmp_path):
    benchmark = synthetic_scenes.SyntheticBenchmark(**SMALL)
    settings = propagator.PropagationSettings(context=2, radius=5.0)
    encoder = FunctionExtractor(neighbourhoods, GRID)
    tracker = tracking.PropagationTracker(encoder, settings, tracking.InputSize())
    results = runner.evaluate(benchmark, tracker, str(tmp_path), protocol='test')
    folder = tmp_path / 'predictions' / 'scene-001'
    assert len(list(folder.glob('*.png'))) == 5
    first = synthetic.scene(synthetic_scenes.HELD_OUT_SEED + 1, 96, 128)
    np.testing.assert_array_equal(Image.open(folder / '00000.png'), first.masks(0.0))
    written = json.loads((folder / 'tracks.json').read_text())
    points = np.array(written['tracks'])
    np.testing.assert_allclose(points[:, 0], first.points(0.0)[first.visible(0.0)])
    assert np.array(written['occluded']).shape == points.shape[:2] == (len(points), 5)
    parts = [scene['metrics']['J-Mean'] for scene in results['sequences'].values()]
    assert results['metrics']['J-Mean'] == pytest.approx(np.mean(parts))
    assert results['frames'] == 10


def test_held_out_scenes_are_not_those_of_training():
    training = clips.open_source(None)
    seeds = [int(training.name(video).split()[-1]) for video in range(len(training))]
    benchmark = synthetic_scenes.SyntheticBenchmark(scenes=3, frames=2, height=32, width=40)
    tracked = benchmark.sequences()[2].track(tracking.CopyFirst())
    for seed in range(synthetic_scenes.HELD_OUT_SEED, synthetic_scenes.HELD_OUT_SEED + 3):
        assert seed not in seeds
    expected = synthetic.scene(synthetic_scenes.HELD_OUT_SEED + 2, 32, 40).masks(0.0)
    np.testing.assert_array_equal(tracked[0].mask, expected)


def test_scenes_without_a_point_to_score_are_refused(monkeypatch):
    benchmark = synthetic_scenes.SyntheticBenchmark(**SMALL)
    assert benchmark.sequences()[0].check() == 5
    real = synthetic.Scene.visible
    monkeypatch.setattr(
        synthetic.Scene, 'visible', lambda scene, time: real(scene, time) & (time == 0)
    )
    with pytest.raises(errors.UserError, match='scene-000.*SyntheticBenchmark.frame_rate'):
        benchmark.sequences()[0].check()


def test_a_benchmark_without_scenes_is_refused():
    with pytest.raises(errors.UserError, match='scenes=0'):
        synthetic_scenes.SyntheticBenchmark(scenes=0)


def geometry():
    return tracking.Geometry((160, 168), (160, 168), (20, 21), GRID)


def test_confidence_is_one_in_the_query_frame_wherever_the_point_is():
    points = np.random.default_rng(0).uniform(20, 130, (50, 2))
    tracked = EXACT.decode(EXACT.encode(tracks.queries(points), geometry()), geometry())
    np.testing.assert_allclose(tracked[:, 2], 1, atol=1e-6)
    np.testing.assert_allclose(tracked[:, :2], points, atol=0.1)


def test_points_with_little_confidence_or_no_position_are_occluded():
    soft = EXACT.encode(tracks.queries(np.array([[40.0, 40.0]] * 3)), geometry())
    soft *= np.array([1, 0.15, 0])
    tracked = EXACT.decode(soft, geometry())
    np.testing.assert_array_equal(EXACT.occluded(tracked), [False, True, True])
    np.testing.assert_array_equal(np.isnan(tracked[:, 0]), [False, False, True])
    limit = np.array([[5.0, 5.0, EXACT.visible_above]])
    assert EXACT.occluded(limit) and not EXACT.occluded(limit + [0, 0, 0.01])


def test_the_codec_of_scenes_keeps_masks_and_tracks_apart():
    mask = np.zeros((160, 168), np.uint8)
    mask[40:100, 50:120] = 2
    points = np.array([[60.0, 70.0], [90.0, 80.0]])
    label = synthetic_scenes.SceneLabel(mask, tracks.queries(points))
    codec = synthetic_scenes.SceneCodec(codecs.MaskCodec(), EXACT, 3)
    soft = codec.encode(label, geometry())
    assert soft.shape == (20, 21, 5)
    back = codec.decode(soft, geometry())
    assert metrics.region_similarity(back.mask == 2, mask == 2) > 0.85
    np.testing.assert_allclose(back.tracks, label.tracks, atol=0.1)


def test_the_shipped_protocol_builds_the_benchmark():
    task = tasks.TASKS['synthetic']
    path = pathlib.Path(__file__).parents[2] / 'gin' / 'eval' / task.protocol
    configuration.parse_gin([str(path)], [])
    benchmark = task.benchmark()
    assert benchmark.track_codec.points.convention == 'exact'
    assert benchmark.track_codec.points.sigma == 0.75 and benchmark.scenes == 20
