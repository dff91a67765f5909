"""Measures speed and memory on this machine and writes them as JSON.

    python -m tools.benchmark --output=speed.json [--what=input,step]

Every part also measures what it is compared with, in the same run: a ratio survives a busy machine.
"""

from __future__ import annotations

from collections.abc import Sequence
import json
import platform

from absl import flags

from stfc3_tf import command, speed, writing
from stfc3_tf.preparation import speed as preparation

_PARTS = {
    'machine': [
        ('float32 convolutions', speed.convolution_rate, 'float32'),
        ('bfloat16 convolutions', speed.convolution_rate, 'bfloat16'),
    ],
    'prepare': [
        (
            f'videos to shards, short side {size}, {rate or "all"} frames a second',
            preparation.against_decoding,
            size,
            rate,
        )
        for size, rate in ((256, 8.0), (128, 8.0), (256, 0.0))
    ],
    'input': [('views and colour, 256 x 256', speed.input_pipeline)],
    'step': [
        (
            f'training step, {size} x {size}, batch {batch}, {precision}',
            speed.training_step,
            size,
            batch,
            precision,
        )
        for precision in ('float32', 'mixed_bfloat16')
        for size, batch in ((256, 1), (128, 4), (64, 8))
    ],
    'walk': [
        (f'walk, {side} x {side} nodes, T = 4', speed.walk_memory, side * side)
        for side in (32, 48, 64, 80)
    ],
    'features': [('features, 480 x 854', speed.features)],
    'propagation': [
        ('propagation, 480 x 854', speed.propagation),
        ('propagation against brute force', speed.propagation_against_brute_force),
    ],
    'loop': [
        ('frames to masks, 480 x 854, 40 frames', speed.whole_loop),
        ('frames to masks against features and brute force', speed.whole_loop_against_brute_force),
    ],
}

_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write.', required=True)
_WHAT = flags.DEFINE_list('what', list(_PARTS), f'Parts to measure, of {", ".join(_PARTS)}.')
_VIDEOS = flags.DEFINE_multi_string(
    'videos', [], 'Videos for the part prepare, as tools.prepare_clips takes them; else built in.'
)
flags.register_validator(
    'what', lambda parts: set(parts) <= set(_PARTS), f'--what: choose among {", ".join(_PARTS)}.'
)


def main(_: Sequence[str]) -> None:
    """Measures part after part, printing as it goes."""
    writing.check_file(_OUTPUT.value)
    results = {'machine': f'{platform.machine()}, {platform.platform()}', 'measurements': {}}
    for name, measure, *arguments in (case for part in _WHAT.value for case in _PARTS[part]):
        if measure is preparation.against_decoding:
            arguments.append(_VIDEOS.value)
        figures = speed.in_own_process(measure, *arguments)
        results['measurements'][name] = figures
        print(
            name,
            *(
                f'{key}={value:.4g}' if isinstance(value, float) else f'{key}={value}'
                for key, value in figures.items()
            ),
            sep='  ',
            flush=True,
        )
    writing.write_text(_OUTPUT.value, json.dumps(results, indent=1) + '\n')


if __name__ == '__main__':
    command.run(main)
