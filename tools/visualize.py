"""Draws the figures of a paper: what encoders see, what they are worth, how they were trained.

    python -m tools.visualize --figure=features --saved_model=ours=runs/mine/saved_model \\
        --video=clip.mp4 --output=features.pdf

The ending of --output chooses the format. What is compared is named as NAME=PATH and can be given
several times. A flag that the figure does not use is an error.

    features    frames above the principal components of their features; .mp4 for a video
    affinity    transitions between related and between unrelated frames
    labels      predicted masks or points against the truth
    scores      scores of evaluations, sequence by sequence
    curves      training curves of runs
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags

from stfc3_tf import command, errors, figures, monitor, serving, writing
from stfc3_tf.clips import footage
from stfc3_tf.figures import benchmark_labels, page, results, stretch

_FIGURE = flags.DEFINE_enum(
    'figure', None, ['features', 'affinity', 'labels', 'scores', 'curves'], 'Which.', required=True
)
_OUTPUT = flags.DEFINE_string(
    'output', None, 'Picture to write: .pdf, .svg, .png (features: also .mp4).', required=True
)
_SAVED_MODEL = flags.DEFINE_multi_string(
    'saved_model', [], 'NAME=PATH of a SavedModel. For features, affinity; a row each.'
)
_VIDEO = flags.DEFINE_string(
    'video', None, 'Video file or folder of pictures. For features, affinity, labels.'
)
_UNRELATED_VIDEO = flags.DEFINE_string(
    'unrelated_video', None, 'A video that has nothing to do with --video. For affinity.'
)
_FRAMES = flags.DEFINE_integer(
    'frames', 6, 'Frames in the picture. For features (not .mp4), labels.', lower_bound=1
)
_START = flags.DEFINE_float(
    'start', 0.0, 'Second of --video to begin at. For features, affinity.', lower_bound=0
)
_DURATION = flags.DEFINE_float(
    'duration', None, 'Seconds of --video; by default to its end. For features.', lower_bound=0
)
_LATER = flags.DEFINE_float(
    'later', 0.125, 'Seconds between the two related frames. For affinity.', lower_bound=0
)
_SIZE = flags.DEFINE_integer(
    'size',
    256,
    'Side in pixels to which centre squares are resized; a shortcut shows at the view size of '
    'training. For affinity.',
    lower_bound=16,
)
_TEMPERATURE = flags.DEFINE_float(
    'temperature', 0.05, 'Tau of the transitions. For affinity.', lower_bound=1e-6
)
_TRUTH = flags.DEFINE_string(
    'truth', None, 'True masks or points of --video, as the data set keeps them. For labels.'
)
_PREDICTIONS = flags.DEFINE_multi_string(
    'predictions',
    [],
    'NAME=PATH of predictions of --video, below OUT/predictions of tools.evaluate. For labels; a '
    'row each.',
)
_RESULTS = flags.DEFINE_multi_string(
    'results', [], 'NAME=PATH of a results.json of tools.evaluate. For scores; a bar each.'
)
_METRIC = flags.DEFINE_string(
    'metric', None, "By default the benchmark's first, such as J&F-Mean. For scores."
)
_RUN = flags.DEFINE_multi_string(
    'run', [], 'NAME=PATH of a --model_dir of training. For curves; a line each.'
)
_TAGS = flags.DEFINE_list(
    'tags',
    [],
    'Scalars to draw, a panel each, as TensorBoard names them; by default loss, return '
    'probability, collapse ratio and held-out score. For curves.',
)
_SMOOTHING = flags.DEFINE_float(
    'smoothing', 0.0, "Weight of TensorBoard's moving average. For curves.", 0.0, 0.999
)


# Over so many frames of a video the colours are fitted.
_BASIS_FRAMES = 16


def named(holder: flags.FlagHolder) -> dict[str, str]:
    """Splits the NAME=PATH given to a flag."""
    pairs = [text.partition('=') for text in holder.value]
    for (name, _, path), text in zip(pairs, holder.value):
        if not name or not path:
            raise errors.UserError(f'--{holder.name}={text}: give NAME=PATH.')
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise errors.UserError(f'--{holder.name}: each needs a name of its own.')
    return {name: path for name, _, path in pairs}


def load_models() -> dict[str, serving.LoadedEncoder]:
    """Loads the models of --saved_model by name."""
    return {name: serving.load(path) for name, path in named(_SAVED_MODEL).items()}


def draw_features() -> None:
    """Draws frames spread over the video above their features."""
    times, frames = _part().spread(_FRAMES.value)
    figures.features(load_models(), frames, _OUTPUT.value, times)


def draw_feature_video() -> None:
    """Writes the video beside its features."""
    part = _part()
    _, sample = part.spread(min(_BASIS_FRAMES, len(part.times)))
    progress = tf.keras.utils.Progbar(len(part.times), unit_name='frame')

    def frames():
        for frame in part.frames():
            yield frame.time - part.times[0], frame.image
            progress.add(1)

    figures.feature_video(load_models(), sample, frames(), part.frame_rate, _OUTPUT.value)


def _part() -> stretch.Stretch:
    return stretch.Stretch(_VIDEO.value, _START.value, _DURATION.value)


def draw_affinities() -> None:
    """Draws the affinity of two frames of --video, and of one of them to --unrelated_video."""
    _, pair = stretch.Stretch(_VIDEO.value, _START.value, _LATER.value).spread(2)
    other = next(footage.open_footage(_UNRELATED_VIDEO.value).frames()).image
    first, later = monitor.centre_view(pair, _SIZE.value)
    (unrelated,) = monitor.centre_view(other[np.newaxis], _SIZE.value)
    figures.affinities(
        load_models(), (first, later), (first, unrelated), _OUTPUT.value, _TEMPERATURE.value
    )


def draw_labels() -> None:
    """Draws frames that have a true label and a predicted one of every row."""
    video = _VIDEO.value
    names, size = stretch.frame_names(video), footage.open_footage(video).size
    truth = benchmark_labels.read_labels(_TRUTH.value, names, size)
    predictions = {
        name: benchmark_labels.read_labels(path, names, size)
        for name, path in named(_PREDICTIONS).items()
    }
    labelled = [n for n in names if all(n in found for found in (truth, *predictions.values()))]
    if len(labelled) < _FRAMES.value:
        raise errors.UserError(
            f'{video}: {len(labelled)} of its {len(names)} frames are labelled both by --truth and '
            f'by every one of --predictions, --frames={_FRAMES.value} are wanted.'
        )
    chosen = [labelled[number] for number in stretch.evenly(len(labelled), _FRAMES.value)]
    figures.labels(stretch.read_named(video, chosen), truth, predictions, _OUTPUT.value)


def draw_scores() -> None:
    """Draws the scores of --results."""
    found = {name: results.read_results(path) for name, path in named(_RESULTS).items()}
    figures.scores(found, _METRIC.value, _OUTPUT.value)


def draw_curves() -> None:
    """Draws the curves of --run."""
    figures.training_curves(named(_RUN), _TAGS.value, _OUTPUT.value, _SMOOTHING.value)


class Figure(NamedTuple):
    """A figure as a command draws it.

    Attributes:
      draw: draws it.
      needs: flags that must be given.
      takes: flags that may be.
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
    'labels': Figure(draw_labels, [_VIDEO, _TRUTH, _PREDICTIONS], [_FRAMES]),
    'scores': Figure(draw_scores, [_RESULTS], [_METRIC]),
    'curves': Figure(draw_curves, [_RUN], [_TAGS, _SMOOTHING]),
}


def check_flags(kind: str, figure: Figure) -> None:
    """Raises UserError if a flag is missing, or one is given that the figure does not use."""
    missing = [flag.name for flag in figure.needs if not flag.present]
    if missing:
        raise errors.UserError(f'{kind} needs --{", --".join(missing)}.')
    used = {flag.name for flag in (*figure.needs, *figure.takes)}
    idle = [flag.name for flag in _of_some_figure() if flag.present and flag.name not in used]
    if idle:
        raise errors.UserError(f'{kind} does not use --{", --".join(idle)}: leave it out.')


def _of_some_figure() -> list[flags.FlagHolder]:
    known = [_FEATURE_VIDEO, *_FIGURES.values()]
    return list({f.name: f for kind in known for f in (*kind.needs, *kind.takes)}.values())


def main(_: Sequence[str]) -> None:
    """Checks the flags and draws."""
    kind, figure = f'--figure={_FIGURE.value}', _FIGURES[_FIGURE.value]
    if _FIGURE.value == 'features' and _OUTPUT.value.lower().endswith('.mp4'):
        kind, figure = f'{kind} as a video', _FEATURE_VIDEO
    else:
        page.check_ending(_OUTPUT.value)
    check_flags(kind, figure)
    writing.check_file(_OUTPUT.value)
    figure.draw()
    print(f'wrote {_OUTPUT.value}')


if __name__ == '__main__':
    command.run(main)
