"""Speed and work of single parts, at tiny sizes, by a clock that the test sets."""

import pytest
from resnet_work import of_stages

from stfc3_tf.speed import (
    compiled_propagation,
    export_formats,
    features,
    input_views,
    machine,
    propagation,
    training_step,
)


def test_the_rate_of_the_machine(clock):
    clock((0.5, 2.0))
    rate = machine.convolution_rate('float32')
    # 8 maps of 32 x 32 cells, 3 x 3 taps, 256 channels to 256, three passes: 28.99 GFLOP.
    assert rate['gflop_per_s'] == pytest.approx(57.98, abs=0.01)
    assert rate['gflop_per_cpu_s'] == pytest.approx(14.50, abs=0.01)


@pytest.mark.slow
def test_features_are_those_of_stage_3(clock):
    work = 2 * of_stages((560, 140, 35)) / 1e9
    clock((0.25, 0.5), (1.0, 1.0))
    figures = features.features(40, 56, repeats=1)
    assert figures['seconds_per_frame'] == 0.25
    assert figures['gflop_per_frame'] == pytest.approx(work)
    assert figures['gflop_per_s'] == pytest.approx(4 * work)
    assert figures['share_of_machine'] == pytest.approx(4 * work / 28.99, rel=1e-3)


@pytest.mark.slow
def test_a_training_step_is_measured(clock):
    clock((4.0, 8.0), (1.0, 1.0))
    figures = training_step.training_step(32, 2, 'float32')
    assert figures['clips_per_s'] == 0.5 and figures['clips_per_cpu_s'] == 0.25
    # At full width the head is 512 -> 2048 -> 512.
    stage4_and_head = 9 * 256 * 512 + 3 * 9 * 512 * 512 + 256 * 512 + 2 * 512 * 2048
    forward = of_stages((256, 64, 16)) + 16 * stage4_and_head
    walk = 9 * 16**2 * 512 + 5 * 16**3
    assert figures['gflop_per_clip'] == pytest.approx(6 * (8 * forward + walk) / 1e9)
    assert figures['gflop_per_s'] == pytest.approx(figures['gflop_per_clip'] / 2)


@pytest.mark.slow
def test_input_and_propagation_are_measured(clock):
    clock((9.0, 0.02), (9.0, 0.005))
    figures = input_views.input_pipeline(32, 40, 48, clips=2)
    assert figures['clips_per_cpu_s'] == pytest.approx(50)
    assert figures['with_jpeg_clips_per_cpu_s'] == pytest.approx(40)
    assert figures['cores_for_75_clips_per_s'] == pytest.approx(1.875)
    label = propagation.propagation(8, 10, channels=8, labels=3, frames=12)['mean_label']
    assert sum(label) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_compiled_propagation_is_measured_beside_the_other(clock):
    clock((0.5, 1.0), (2.0, 4.0), (11.0, 22.0))
    figures = compiled_propagation.measure(8, 10, channels=8, labels=3, frames=12)
    assert figures['compiled_seconds_per_frame'] == 0.5 and figures['compiled_cpu_s_per_frame'] == 1
    assert figures['other_seconds_per_frame'] == 2 and figures['other_cpu_s_per_frame'] == 4
    assert figures['clip_seconds_per_frame'] == 1 and figures['clip_cpu_s_per_frame'] == 2
    assert 0 < figures['largest_difference'] < 1e-5


@pytest.mark.slow
def test_every_format_is_measured_beside_the_saved_model():
    figures = export_formats.seconds_per_frame(48, 64, channels=4, rounds=1)
    names = ['saved_model', 'onnx', 'onnx, fixed size', 'tflite', 'tflite, fixed size', 'compact']
    assert list(figures) == [f'{n} seconds' for n in names] + [f'{n} difference' for n in names]
    assert all(figures[f'{name} seconds'] > 0 for name in names)
    assert figures['saved_model difference'] == 0
    assert all(0 < figures[f'{name} difference'] < 1e-4 for name in names[1:5])
