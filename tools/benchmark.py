"""Measure speed and memory on this machine and write them as JSON.

    python -m tools.benchmark --output=speed.json [--what=input,step]

Every part also measures, in the same run, what it is compared with: the ratio of the two also holds
on a busy machine.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import platform
from typing import Any

from absl import flags

from stfc3_tf import errors
from stfc3_tf.annotation import correction_time, corrections
from stfc3_tf.commands import command
from stfc3_tf.serving import shipped
from stfc3_tf.speed import (
    export_formats,
    features,
    input_views,
    machine,
    preparation,
    propagation,
    timing,
    training_step,
    walk,
    whole_loop,
)
from stfc3_tf.storage import writing

# Part -> its measurements: a name, a function that returns figures, and its arguments.
_PARTS: dict[str, list[tuple[Any, ...]]] = {
    'machine': [
        ('float32 convolutions', machine.convolution_rate, 'float32'),
        ('bfloat16 convolutions', machine.convolution_rate, 'bfloat16'),
    ],
    'prepare': [
        (
            f'videos to shards, short side {size}, {rate or "all"} frames per second',
            preparation.against_decoding,
            size,
            rate,
        )
        for size, rate in ((256, 8.0), (128, 8.0), (256, 0.0))
    ],
    'input': [('views and colour, 256 x 256', input_views.input_pipeline)],
    'step': [
        (
            f'training step, {size} x {size}, batch {batch}, {precision}',
            training_step.training_step,
            size,
            batch,
            precision,
        )
        for precision in ('float32', 'mixed_bfloat16')
        for size, batch in ((256, 1), (128, 4), (64, 8))
    ],
    'walk': [
        (f'walk, {side} x {side} nodes, T = 4', walk.walk_memory, side * side)
        for side in (32, 48, 64, 80)
    ],
    'features': [('features, 480 x 854', features.features)],
    'formats': [('features in every export format, 480 x 854', export_formats.seconds_per_frame)],
    'propagation': [
        ('propagation, 480 x 854', propagation.propagation),
        ('propagation against brute force', propagation.propagation_against_brute_force),
    ],
    'loop': [
        ('frames to masks, 480 x 854, 40 frames', whole_loop.whole_loop),
        (
            f'frames to masks with {shipped.DEFAULT}, 480 x 854, 40 frames',
            whole_loop.whole_loop,
            shipped.DEFAULT,
        ),
        (
            'frames to masks against features and brute force',
            whole_loop.whole_loop_against_brute_force,
        ),
    ],
    'corrections': [('J&F after corrections of the worst frame', corrections.measure)],
    'correction_time': [('a correction against a full run, 480 x 854', correction_time.measure)],
}
# What needs data of its own, or many minutes, is measured only if it is asked for.
_DEFAULT = [part for part in _PARTS if not part.startswith('correction')]

_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write.', required=True)
_WHAT = flags.DEFINE_list('what', _DEFAULT, f'Parts to measure, among {", ".join(_PARTS)}.')
_VIDEOS = flags.DEFINE_multi_string(
    'videos',
    [],
    'Videos for the part prepare, as --input of tools.prepare_clips; by default built-in ones',
)
_DAVIS = flags.DEFINE_string('davis', None, 'DAVIS, for the part corrections.')
_YEAR = flags.DEFINE_integer('year', 2016, '2016 or 2017, of --davis.')
_SEQUENCES = flags.DEFINE_list('sequences', [], 'Sequences of --davis; by default all.')
_SAVED_MODEL = flags.DEFINE_string(
    'saved_model',
    shipped.DEFAULT,
    'Encoder for the parts about corrections, as in tools.propagate.',
)
_SHORT_SIDE = flags.DEFINE_integer(
    'short_side', None, 'For the parts about corrections, as in tools.propagate.'
)
flags.register_validator(
    'what', lambda parts: set(parts) <= set(_PARTS), f'--what: choose among {", ".join(_PARTS)}.'
)


def main(_: Sequence[str]) -> None:
    """Measure one part after the other; print each result at once."""
    writing.check_file(_OUTPUT.value)
    if 'corrections' in _WHAT.value and _DAVIS.value is None:
        raise errors.UserError('--what=corrections needs --davis=FOLDER.')
    measurements = {}
    for name, measure, *arguments in (case for part in _WHAT.value for case in _PARTS[part]):
        if measure is preparation.against_decoding:
            arguments.append(_VIDEOS.value)
        if measure is corrections.measure:
            arguments += [_DAVIS.value, _SAVED_MODEL.value, _YEAR.value]
            arguments += [_SEQUENCES.value, _SHORT_SIDE.value]
        if measure is correction_time.measure:
            arguments += [_SAVED_MODEL.value, _SHORT_SIDE.value]
        figures = timing.in_own_process(measure, *arguments)
        measurements[name] = figures
        print(
            name,
            *(
                f'{key}={value:.4g}' if isinstance(value, float) else f'{key}={value}'
                for key, value in figures.items()
            ),
            sep='  ',
            flush=True,
        )
    computer = f'{platform.machine()}, {platform.platform()}'
    results = {'machine': computer, 'measurements': measurements}
    writing.write_text(_OUTPUT.value, json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    command.run(main)
