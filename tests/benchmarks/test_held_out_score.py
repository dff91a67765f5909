"""The held-out score: good features score above copying, noise below, and no setting changes it."""

import dataclasses

from colour_neighbourhoods import GRID, neighbourhoods
import gin
import numpy as np

from stfc3_tf.benchmarks import held_out_score
from stfc3_tf.propagation import codecs, propagator, tracks
from stfc3_tf.propagation import tracker as tracking


def test_held_out_score_tells_features_from_noise():
    def noise(frames):
        maps = np.random.default_rng(0).standard_normal((len(frames), 16, 20, 8)).astype(np.float32)
        return maps / np.linalg.norm(maps, axis=-1, keepdims=True)

    good = held_out_score.held_out_score(neighbourhoods, GRID, scenes=2, frames=6)
    bad = held_out_score.held_out_score(noise, GRID, scenes=2, frames=6)
    assert good['J-Mean'] > good['Copy-J-Mean'] + 0.05
    assert good['Position-Accuracy'] > good['Copy-Position-Accuracy'] + 0.1
    assert bad['J-Mean'] < bad['Copy-J-Mean'] == good['Copy-J-Mean']


def test_no_configuration_changes_the_held_out_score():
    expected = held_out_score.held_out_score(neighbourhoods, GRID, scenes=1, frames=4)
    other = {
        'PropagationSettings': propagator.PropagationSettings(
            context=1,
            radius=2.0,
            window='square',
            top_k=1,
            temperature=1.0,
            restrict_first=True,
            first_among_preceding=False,
            repeat_first=False,
            keep_ties=True,
        ),
        'InputSize': tracking.InputSize('short_side', 64, 32, 'area'),
        'MaskCodec': codecs.MaskCodec('nearest', 'per_label', 'input'),
        'PointCodec': codecs.PointCodec('crw', 2.0, 1, 0),
        'TrackCodec': tracks.TrackCodec(visible_above=0.9),
    }
    for name, settings in other.items():
        for field in dataclasses.fields(settings):
            value = getattr(settings, field.name)
            if not dataclasses.is_dataclass(value):
                gin.bind_parameter(f'{name}.{field.name}', value)
    gin.bind_parameter('SyntheticBenchmark.frame_rate', 2.0)
    assert held_out_score.held_out_score(neighbourhoods, GRID, scenes=1, frames=4) == expected
