r"""Draw figures for papers: features, affinities, labels, scores, training curves, speed.

    python -m tools.visualize --figure=features --saved_model=ours=runs/mine/saved_model \
        --video=clip.mp4 --output=features.pdf

The ending of --output chooses the format. Flags with NAME=PATH can be given several times, to
compare; a PATH alone is named by its last part. A flag that the figure does not use is an error.

    features    frames and the principal components of their features; .mp4 for a video
    affinity    transitions between related frames and between unrelated frames
    labels      predicted masks or points against the truth
    scores      scores of evaluations, per sequence
    curves      training curves of runs
    speed       how the time of propagation grows
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from absl import flags
import numpy as np

from stfc3_tf import errors, figures, progress, wording
from stfc3_tf.clips import footage
from stfc3_tf.commands import command, idle_flags, named_paths
from stfc3_tf.figures import benchmark_labels, page, results, stretch
from stfc3_tf.figures import speed as speed_lib
from stfc3_tf.serving import loading
from stfc3_tf.serving.encoder import LoadedEncoder
from stfc3_tf.storage import writing
from stfc3_tf.training import probe_clips

_FIGURE = flags.DEFINE_enum(
    'figure',
    None,
    ['features', 'affinity', 'labels', 'scores', 'curves', 'speed'],
    'Kind of figure.',
    required=True,
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Picture to write: .pdf, .svg, .png (features: also .mp4).', required=True
)
_SAVED_MODEL = flags.DEFINE_multi_string(
    'saved_model',
    [],
    'NAME=MODEL, one row each: an export, a SavedModel, or the name of an encoder that comes with '
    'the package, such as stfc3-small. For features, affinity.',
)
_VIDEO = flags.DEFINE_string(
    'video', None, 'Video file or folder of pictures. For features, affinity, labels.'
)
_UNRELATED_VIDEO = flags.DEFINE_string(
    'unrelated_video', None, 'A video of something else than --video. For affinity.'
)
_FRAMES = flags.DEFINE_integer(
    'frames', 6, 'Frames in the picture. For features (not .mp4), labels.', 1, 1000
)
_START = flags.DEFINE_float(
    'start', 0.0, 'Where to begin in --video, in seconds. For features, affinity.', lower_bound=0
)
_DURATION = flags.DEFINE_float(
    'duration', None, 'Seconds of --video; by default up to its end. For features.', lower_bound=0
)
_LATER = flags.DEFINE_float(
    'later', 0.125, 'Seconds between the two related frames. For affinity.', lower_bound=0
)
_SIZE = flags.DEFINE_integer(
    'size',
    256,
    'Side in pixels of the resized centre squares; a shortcut shows at the view size of training. '
    'For affinity.',
    lower_bound=16,
    upper_bound=4096,
)
_TEMPERATURE = flags.DEFINE_float(
    'temperature', 0.05, 'Temperature of the transitions. For affinity.', 1e-6, 1e6
)
_TRUTH = flags.DEFINE_string(
    'truth',
    None,
    'True masks or points of --video, in the format of the data set; without them, only the '
    'predictions are drawn. For labels.',
)
_PREDICTIONS = flags.DEFINE_multi_string(
    'predictions',
    [],
    'NAME=PATH of predictions for --video, in OUT/predictions of tools.evaluate, or the output_dir '
    'of tools.propagate; one row each. For labels',
)
_RESULTS = flags.DEFINE_multi_string(
    'results', [], 'NAME=PATH of a results.json of tools.evaluate; one bar each. For scores'
)
_METRIC = flags.DEFINE_string(
    'metric', None, "Metric; by default the benchmark's first, such as J&F-Mean. For scores."
)
_RUN = flags.DEFINE_multi_string(
    'run', [], 'NAME=PATH of a --model_dir of training; one line each. For curves'
)
_TAGS = flags.DEFINE_list(
    'tags',
    [],
    'Scalars to draw, by their names in TensorBoard, one panel each; by default loss, return '
    'probability, collapse ratio and held-out score. For curves.',
)
_SMOOTHING = flags.DEFINE_float(
    'smoothing', 0.0, 'Weight of the moving average, as in TensorBoard. For curves.', 0.0, 0.999
)
_SPEED = flags.DEFINE_multi_string(
    'speed', [], 'NAME=PATH of a file of tools.benchmark --what=curves. For speed.'
)


# The number of frames of a video to which the colours are fitted.
_BASIS_FRAMES = 16


def load_models() -> dict[str, LoadedEncoder]:
    """Load the models of --saved_model: name -> model."""
    return {
        name: loading.load(path)
        for name, path in named_paths.read_or_last_parts(_SAVED_MODEL).items()
    }


def draw_features() -> None:
    """Draw frames from the whole video and their features."""
    part = _part()
    times, frames = part.spread(_FRAMES.value)
    aspect = float(part.pixel_aspect)
    figures.features(load_models(), frames, _OUTPUT.value, times.tolist(), aspect)


def draw_feature_video() -> None:
    """Write the video beside its features."""
    part = _part()
    _, sample = part.spread(min(_BASIS_FRAMES, len(part.times)))
    display = progress.Display('features', 'frames', len(part.times))

    def frames():
        for number, frame in enumerate(part.frames(), 1):
            yield frame.time - part.times[0], frame.image
            display.show(number)
        display.finish()

    figures.feature_video(
        load_models(), sample, frames(), part.frame_rate, _OUTPUT.value, part.pixel_aspect
    )


def _part() -> stretch.Stretch:
    return stretch.Stretch(_given(_VIDEO), _START.value, _DURATION.value)


def _given(flag: flags.FlagHolder) -> str:
    """Return the value of a flag that `check_flags` has found present."""
    return flag.value


def draw_affinities() -> None:
    """Draw the affinity of two frames of --video, and of one of them and --unrelated_video."""
    _, pair = stretch.Stretch(_given(_VIDEO), _START.value, _LATER.value).spread(2)
    other = next(footage.open_footage(_given(_UNRELATED_VIDEO)).frames()).image
    first, later = probe_clips.centre_view(pair, _SIZE.value)
    (unrelated,) = probe_clips.centre_view(other[np.newaxis], _SIZE.value)
    figures.affinities(
        load_models(), (first, later), (first, unrelated), _OUTPUT.value, _TEMPERATURE.value
    )


def draw_labels() -> None:
    """Draw frames that have a predicted label in every row, and a true one if there are some."""
    video = _given(_VIDEO)
    opened = footage.open_footage(video)
    size, names = opened.size, stretch.frame_names(video)
    truth = (
        benchmark_labels.read_labels(_TRUTH.value, names, size)
        if _TRUTH.value is not None
        else None
    )
    predictions = {
        name: benchmark_labels.read_labels(path, names, size)
        for name, path in named_paths.read_or_last_parts(_PREDICTIONS).items()
    }
    rows = {**predictions, **({} if truth is None else {'--truth': truth})}
    for row, found in rows.items():
        if not set(names) & set(found):
            raise errors.UserError(
                f'{row}: none of its labels is of a frame of {video}, whose frames are '
                f'{names[0]} to {names[-1]}: give labels with these names or numbers.'
            )
    labelled = [n for n in names if all(n in found for found in rows.values())]
    if len(labelled) < _FRAMES.value:
        raise errors.UserError(
            f'{video}: {len(labelled)} of {wording.counted(len(names), "frame")} have a label in '
            f'all --predictions and --truth, but --frames={_FRAMES.value}.'
        )
    chosen = [labelled[number] for number in stretch.evenly(len(labelled), _FRAMES.value)]
    frames = stretch.read_named(video, chosen)
    figures.labels(frames, truth, predictions, _OUTPUT.value, float(opened.pixel_aspect))


def draw_scores() -> None:
    """Draw the scores of --results."""
    found = {
        name: results.read_results(path)
        for name, path in named_paths.read_or_last_parts(_RESULTS).items()
    }
    figures.scores(found, _METRIC.value, _OUTPUT.value)


def draw_curves() -> None:
    """Draw the curves of --run."""
    figures.training_curves(
        named_paths.read_or_last_parts(_RUN), _TAGS.value, _OUTPUT.value, _SMOOTHING.value
    )


def draw_speed() -> None:
    """Draw the curves of --speed."""
    measured = {
        name: speed_lib.read_curves(path)
        for name, path in named_paths.read_or_last_parts(_SPEED).items()
    }
    figures.speed_curves(measured, _OUTPUT.value)


class Figure(NamedTuple):
    """A kind of figure.

    Attributes:
      draw: draws it.
      needs: flags that must be given.
      takes: flags that may be given.
    """

    draw: Callable[[], None]
    needs: Sequence[flags.FlagHolder]
    takes: Sequence[flags.FlagHolder]


_FEATURE_VIDEO = Figure(draw_feature_video, [_SAVED_MODEL, _VIDEO], [_START, _DURATION])
_FIGURES = {
    'features': Figure(draw_features, [_SAVED_MODEL, _VIDEO], [_FRAMES, _START, _DURATION]),
    'affinity': Figure(
        draw_affinities,
        [_SAVED_MODEL, _VIDEO, _UNRELATED_VIDEO],
        [_START, _LATER, _SIZE, _TEMPERATURE],
    ),
    'labels': Figure(draw_labels, [_VIDEO, _PREDICTIONS], [_TRUTH, _FRAMES]),
    'scores': Figure(draw_scores, [_RESULTS], [_METRIC]),
    'curves': Figure(draw_curves, [_RUN], [_TAGS, _SMOOTHING]),
    'speed': Figure(draw_speed, [_SPEED], []),
}


def check_flags(kind: str, figure: Figure) -> None:
    """Raise UserError if a flag is missing, or if one is given that the figure does not use.

    Args:
      kind: names the figure in messages.
      figure: the figure.
    """
    missing = [flag.name for flag in figure.needs if not flag.present]
    if missing:
        raise errors.UserError(f'{kind} needs --{", --".join(missing)}.')
    idle_flags.refuse(kind, _flags_of(_FEATURE_VIDEO, *_FIGURES.values()), _flags_of(figure))


def _flags_of(*known: Figure) -> list[flags.FlagHolder]:
    return [flag for figure in known for flag in (*figure.needs, *figure.takes)]


def main(_: Sequence[str]) -> None:
    """Check the flags and draw."""
    kind, figure = f'--figure={_FIGURE.value}', _FIGURES[_FIGURE.value]
    if _FIGURE.value == 'features' and _OUTPUT.value.lower().endswith('.mp4'):
        kind, figure = f'{kind} as a video', _FEATURE_VIDEO
    else:
        page.check_ending(_OUTPUT.value)
    check_flags(kind, figure)
    writing.check_file(_OUTPUT.value)
    figure.draw()
    print(f'Wrote {_OUTPUT.value}')


if __name__ == '__main__':
    command.run(main)
