"""What the benchmark tool measures, at sizes that take no time; seconds are not tested."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import encoder, learner, propagation, reference, speed

ROOT = pathlib.Path(__file__).parent.parent


def of_stages(cells):
    """Multiplications of the convolutions to the end of stage 3, counted from the paper's figure.

    `cells` are those at strides 2, 4 and 8.
    """
    at_2, at_4, at_8 = cells
    stem = at_2 * 7 * 7 * 3 * 64
    stage1 = at_4 * 4 * 9 * 64 * 64
    stage2 = at_8 * (9 * 64 * 128 + 3 * 9 * 128 * 128 + 64 * 128)
    stage3 = at_8 * (9 * 128 * 256 + 3 * 9 * 256 * 256 + 128 * 256)
    return stem + stage1 + stage2 + stage3


def test_work_of_stage_3_by_hand():
    network = encoder.resnet18(head_widths=(8, 8))
    stage3 = tf.keras.Model(network.input, network.output['stage3'])
    expected = 2 * of_stages((20 * 28, 10 * 14, 5 * 7)) / 1e9
    assert speed.convolution_gflop(stage3, 40, 56) == pytest.approx(expected)


def test_features_are_those_of_stage_3():
    figures = speed.features(40, 56, repeats=1)
    assert figures['gflop_per_frame'] == pytest.approx(2 * of_stages((560, 140, 35)) / 1e9)
    assert figures['gflop_per_s'] == pytest.approx(
        figures['gflop_per_frame'] / figures['seconds_per_frame'])
    assert figures['share_of_machine'] == pytest.approx(
        figures['gflop_per_s'] / figures['machine_convolution_gflop_per_s'])


def test_work_of_a_clip_by_hand():
    model = learner.Learner(encoder.resnet18(head_widths=(16, 8)))
    nodes = 4 * 4
    stage4 = nodes * (9 * 256 * 512 + 3 * 9 * 512 * 512 + 256 * 512)
    head = nodes * (512 * 16 + 16 * 8)
    forward = of_stages((256, 64, 16)) + stage4 + head
    # Three transitions each to leave, to go on and to come home; five products of transitions.
    walk = 9 * nodes ** 2 * 8 + 5 * nodes ** 3
    assert speed.clip_gflop(model, 32) == pytest.approx(3 * 2 * (8 * forward + walk) / 1e9)


def test_the_walk_holds_its_transitions():
    figures = speed.in_own_process(speed.walk_memory, 1024, 16)
    # Of the nine transitions of a clip the gradient needs every one.
    assert 9 < figures['maps'] < 200
    assert figures['gib_per_clip'] == pytest.approx(figures['maps'] * 1024**2 * 4 / 2**30)


def test_a_training_step_is_measured():
    figures = speed.training_step(32, 1, 'float32', repeats=1)
    expected = 2 * 3 * 8 * of_stages((256, 64, 16)) / 1e9
    assert figures['gflop_per_clip'] > expected
    assert figures['gflop_per_s'] == pytest.approx(
        figures['gflop_per_clip'] * figures['clips_per_s'])


def random_context(seed, rows, columns):
    rng = np.random.default_rng(seed)
    maps = rng.standard_normal((4, rows, columns, 6)).astype(np.float32)
    maps /= np.linalg.norm(maps, axis=-1, keepdims=True)
    labels = rng.random((3, rows, columns, 2)).astype(np.float32)
    return maps[3], maps[:3], labels, np.array([True, False, False])


@pytest.mark.parametrize('chunk', [7, 10, 1000])
def test_brute_force_is_the_definition_in_chunks_of_any_size(chunk):
    settings = propagation.PropagationSettings(radius=3.0, top_k=4, temperature=0.1)
    given = random_context(0, 6, 5)
    found = reference.brute_force(*given, settings, chunk=chunk)
    query, context, labels, unrestricted = given
    for row, column in np.ndindex(6, 5):
        candidates = [
            (float(context[frame, y, x] @ query[row, column]), labels[frame, y, x])
            for frame, y, x in np.ndindex(3, 6, 5)
            if unrestricted[frame] or np.hypot(y - row, x - column) < 3
        ]
        best = sorted(candidates, key=lambda pair: -pair[0])[:4]
        weights = np.exp(np.array([value for value, _ in best]) / 0.1)
        expected = weights @ np.stack([label for _, label in best]) / weights.sum()
        np.testing.assert_allclose(found[row, column], expected, atol=1e-5)


def test_the_engine_agrees_with_brute_force():
    figures = speed.propagation_against_brute_force(14, 27, channels=16)
    assert figures['largest_difference'] < 1e-4 and figures['iou'] == 1
    assert figures['times_faster'] == pytest.approx(
        figures['brute_force_seconds_per_frame'] / figures['seconds_per_frame'])


def test_the_whole_loop_agrees_with_brute_force():
    figures = speed.whole_loop_against_brute_force(64, 96, frames=24, compared=(1, 8, 23))
    assert figures['largest_difference'] < 1e-5
    # Single pixels at which two labels tie may fall either way; the objects have a few hundred.
    assert figures['smallest_iou'] >= 0.99
    parts = figures['features_seconds_per_frame'] + figures['brute_force_seconds_per_frame']
    assert figures['times_faster'] == pytest.approx(parts / figures['seconds_per_frame'])
    assert figures['features_seconds_per_frame'] < figures['seconds_per_frame']


def test_overlap_is_that_of_the_worst_object():
    mask = np.array([[1, 1, 2, 2], [0, 0, 3, 3]])
    other = np.array([[1, 1, 2, 0], [0, 0, 3, 3]])
    assert speed.overlap(mask, other) == 0.5
    assert speed.overlap(mask, mask) == speed.overlap(0 * mask, 0 * mask) == 1


def test_input_and_propagation_are_measured():
    figures = speed.input_pipeline(32, 40, 48, clips=2)
    assert figures['clips_per_cpu_s'] > figures['with_jpeg_clips_per_cpu_s'] > 0
    label = speed.propagation(8, 10, channels=8, labels=3, frames=12)['mean_label']
    assert sum(label) == pytest.approx(1, abs=1e-5)


# In processes


def test_peak_memory_is_the_measurements_own():
    # Neither what this process holds, TensorFlow for one, nor what an earlier measurement held.
    small = speed.in_own_process(dict)['peak_gib']
    large = speed.in_own_process(dict.fromkeys, range(2_000_000))['peak_gib']
    assert speed.in_own_process(dict)['peak_gib'] == pytest.approx(small, abs=0.02)
    assert small < 0.25 and large > small + 0.1


def test_a_measurement_that_dies_is_named():
    with pytest.raises(RuntimeError, match='_exit.*did not finish'):
        speed.in_own_process(os._exit, 1)


PROGRAM = """
import os
from stfc3_tf import command
from tools import benchmark
if __name__ == '__main__':
    benchmark._PARTS['input'] = [('small', dict, [('clips', 3)])]
    benchmark._PARTS['step'] = [('deadly', os._exit, 1)]
    command.run(benchmark.main)
"""


def test_the_command_writes_its_file_whole_or_not(tmp_path):
    program = tmp_path / 'program.py'
    program.write_text(PROGRAM)
    output = tmp_path / 'folder' / 'speed.json'

    def benchmark(what):
        return subprocess.run(
            [sys.executable, str(program), f'--output={output}', f'--what={what}'],
            capture_output=True, text=True, check=False,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'TF_CPP_MIN_LOG_LEVEL': '2'})

    done = benchmark('input')
    assert done.returncode == 0, done.stderr
    measurements = json.loads(output.read_text())['measurements']
    assert measurements['small']['clips'] == 3 and 'small' in done.stdout
    assert benchmark('input,step').returncode != 0
    assert json.loads(output.read_text())['measurements'] == measurements
    assert [path.name for path in output.parent.iterdir()] == ['speed.json']
