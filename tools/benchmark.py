"""Measure speed and memory on this machine and write them as JSON.

    python -m tools.benchmark --output=speed.json [--what=input,step]

Every part also measures, in the same run, what it is compared with: the ratio of the two also holds
on a busy machine. With --against=pytorch, the same work in PyTorch is timed in turn with this
project's, as it is usually written there and tuned; ratios are medians over the rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import json
from typing import Any

from absl import flags

from stfc3_tf import computer, errors
from stfc3_tf.annotation import correction_time, corrections
from stfc3_tf.commands import command, idle_flags
from stfc3_tf.serving import shipped
from stfc3_tf.speed import (
    against_pytorch,
    compiled_propagation,
    export_formats,
    features,
    growth,
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
_Parts = dict[str, list[tuple[Any, ...]]]
_STEPS = [
    (size, batch, precision)
    for precision in ('float32', 'mixed_bfloat16')
    for size, batch in ((256, 1), (128, 4), (64, 8))
]
_PARTS: _Parts = {
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
        for size, batch, precision in _STEPS
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
    'compiled': [('propagation that XLA compiles', compiled_propagation.measure)],
    'loop': [
        ('frames to masks, 480 x 854, 40 frames', whole_loop.whole_loop),
        (
            f'frames to masks with {shipped.DEFAULT}, 480 x 854, 40 frames',
            whole_loop.whole_loop,
            shipped.DEFAULT,
        ),
        (
            f"frames to masks with {shipped.DEFAULT}, precision 'fast' against 'exact'",
            whole_loop.fast_against_exact,
            shipped.DEFAULT,
        ),
        (
            'frames to masks against features and brute force',
            whole_loop.whole_loop_against_brute_force,
        ),
    ],
    'curves': [
        (f'propagation by {name}', measure)
        for name, measure in (
            ('height of the frame', growth.by_height),
            ('frames of context', growth.by_context),
            ('radius of the window', growth.by_radius),
            ('objects', growth.by_objects),
            ('frames of the clip', growth.by_length),
        )
    ],
    'corrections': [('J&F after corrections of the worst frame', corrections.measure)],
    'correction_time': [('a correction against a full run, 480 x 854', correction_time.measure)],
}
# The parts of --against=pytorch.
_AGAINST_PYTORCH: _Parts = {
    'step': [
        (
            f'training step, {size} x {size}, batch {batch}, {precision}, against PyTorch',
            against_pytorch.step,
            size,
            batch,
            precision,
        )
        for size, batch, precision in _STEPS
    ],
    'features': [('features, 480 x 854, against PyTorch', against_pytorch.features)],
    'propagation': [('propagation, 480 x 854, against PyTorch', against_pytorch.propagation)],
    'loop': [('frames to masks, 480 x 854, against PyTorch', against_pytorch.whole_loop)],
}
# What needs data of its own, or many minutes, is measured only if it is asked for.
_ON_REQUEST = ('corrections', 'correction_time', 'curves')

_OUTPUT = flags.DEFINE_string('output', None, 'JSON file to write.', required=True)
_WHAT = flags.DEFINE_list(
    'what',
    None,
    f'Parts to measure, among {", ".join(_PARTS)}; with --against, among '
    f'{", ".join(_AGAINST_PYTORCH)}. By default all but {", ".join(_ON_REQUEST)}.',
)
_AGAINST = flags.DEFINE_enum(
    'against', None, ['pytorch'], 'Compare with PyTorch, which must be installed.'
)
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

_FLAGS_OF = {
    'prepare': (_VIDEOS,),
    'corrections': (_DAVIS, _YEAR, _SEQUENCES, _SAVED_MODEL, _SHORT_SIDE),
    'correction_time': (_SAVED_MODEL, _SHORT_SIDE),
}


def parts(against: str | None) -> _Parts:
    """Return the parts that can be measured."""
    return _AGAINST_PYTORCH if against else _PARTS


@flags.multi_flags_validator(['what', 'against'])
def _known(given: dict[str, Any]) -> bool:
    """Raise an error if --what names a part that there is not."""
    known = parts(given['against'])
    if set(given['what'] or []) <= set(known):
        return True
    against = f' with --against={given["against"]}' if given['against'] else ''
    raise flags.ValidationError(f'--what{against}: choose among {", ".join(known)}.')


def chosen() -> list[tuple[Any, ...]]:
    """Return the measurements of --what: a name, a function, its arguments.

    Raises:
      errors.UserError: something that they need is missing.
    """
    known = parts(_AGAINST.value)
    wanted = _WHAT.value or [part for part in known if part not in _ON_REQUEST]
    idle_flags.refuse(f'--what={",".join(wanted)}', _flags_of(_FLAGS_OF), _flags_of(wanted))
    if 'corrections' in wanted and _DAVIS.value is None:
        raise errors.UserError('--what=corrections needs --davis=FOLDER.')
    if _AGAINST.value:
        against_pytorch.check_installed()
    return [case for part in wanted for case in known[part]]


def _flags_of(some_parts: Iterable[str]) -> list[flags.FlagHolder]:
    return [flag for part in some_parts for flag in _FLAGS_OF.get(part, ())]


def measured(measure: Callable[..., timing.Figures], arguments: list[Any]) -> timing.Figures:
    """Return the figures of a measurement; some get more arguments from flags."""
    if measure is preparation.against_decoding:
        arguments = [*arguments, _VIDEOS.value]
    if measure is corrections.measure:
        arguments = [_DAVIS.value, _SAVED_MODEL.value, _YEAR.value]
        arguments += [_SEQUENCES.value, _SHORT_SIDE.value]
    if measure is correction_time.measure:
        arguments = [_SAVED_MODEL.value, _SHORT_SIDE.value]
    if _AGAINST.value:  # Both sides have processes of their own.
        return measure(*arguments)
    return timing.in_own_process(measure, *arguments)


def main(_: Sequence[str]) -> None:
    """Measure one part after the other; print each result at once."""
    writing.check_file(_OUTPUT.value)
    measurements = {}
    for name, measure, *arguments in chosen():
        figures = measured(measure, arguments)
        measurements[name] = figures
        print(
            name, *(f'{key}={shown(value)}' for key, value in figures.items()), sep='  ', flush=True
        )
    results = {'machine': computer.description(), 'measurements': measurements}
    writing.write_text(_OUTPUT.value, json.dumps(results, indent=1) + '\n')


def shown(value: Any) -> str:
    """Return a figure as it is printed."""
    if isinstance(value, list):
        return f'[{", ".join(map(shown, value))}]'
    return f'{value:.4g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
    command.run(main)
