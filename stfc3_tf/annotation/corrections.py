"""The gain of corrections: a simulated person corrects the worst frame, again and again.

The first frame of a sequence of DAVIS has its true mask. After each propagation, the frame that has
the lowest J among those without a label gets its true mask. Beside it stands what the same labels
give when each frame is propagated from the nearest labelled frame alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation import (
    frame_lists,
    given_labels,
    kept_features,
    kept_matches,
    propagate,
)
from stfc3_tf.annotation.both_ways import Span
from stfc3_tf.benchmarks import davis, metrics
from stfc3_tf.propagation import choice
from stfc3_tf.propagation.extractor import FeatureExtractor
from stfc3_tf.serving import loading
from stfc3_tf.storage import images, palette

COUNTS = (0, 1, 2, 3, 5)


class Scores(NamedTuple):
    """J and F of every frame, float [frames], the mean over its objects."""

    region: np.ndarray
    boundary: np.ndarray

    def mean(self) -> float:
        """Return J&F over the frames that DAVIS scores: all but the first and the last."""
        scored = metrics.scored_frames(len(self.region))
        return float(np.mean([self.region[scored], self.boundary[scored]]))


def measure(
    data_dir: str, saved_model: str, year: int, names: Sequence[str], short_side: int | None
) -> dict[str, float]:
    """Return the mean J&F over sequences, by the number of corrections.

    Args:
      data_dir: of DAVIS, see `davis.Davis`.
      saved_model: see `loading.load`.
      year: 2016 or 2017.
      names: of the sequences; all if empty.
      short_side: see `propagate.propagate_masks`.

    Raises:
      errors.UserError: there is no such sequence, or no DAVIS.
    """
    benchmark = davis.Davis(data_dir, year=year)
    sequences = {sequence.name: sequence for sequence in benchmark.sequences()}
    if unknown := [name for name in names if name not in sequences]:
        raise errors.UserError(f'{data_dir} has no sequence {unknown[0]}.')
    encoder = loading.load(saved_model)
    curves = []
    for name in names or sequences:
        paths = sequences[name].files()
        half = len(paths) // 2
        frames = [images.read_frame(path) for path in paths[:half]]
        truth = [benchmark.read_mask(path) for path in paths[half:]]
        with kept_features.kept_for_now(encoder) as kept, kept_matches.matches_for_now() as matches:
            curves.append(curve(kept, frames, truth, COUNTS, short_side, matches.propagator))
        print(name, *(f'{key}={value:.4f}' for key, value in curves[-1].items()), flush=True)
    return {key: float(np.mean([each[key] for each in curves])) for key in curves[0]}


def curve(
    encoder: FeatureExtractor,
    frames: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    counts: Sequence[int],
    short_side: int | None = None,
    propagator: choice.Maker = choice.propagator,
) -> dict[str, float]:
    """Return J&F of one sequence: 'corrections n', and 'nearest n' from the nearest label alone.

    Args:
      encoder: see `propagate.propagate_masks`.
      frames: uint8 [height, width, 3] RGB.
      truth: uint8 [height, width] of object numbers; 255 is not scored.
      counts: numbers of corrections, ascending.
      short_side: see `propagate.propagate_masks`.
      propagator: makes what carries the labels.
    """
    clip = _Clip(encoder, frames, short_side, propagator)
    labels = {0: _without_void(truth[0])}
    both_ways, nearest = _BothWays(clip), _Nearest(clip, labels)
    figures: dict[str, float] = {}
    for count in range(max(counts) + 1):
        scores = _scores(both_ways.masks(labels), truth)
        if count in counts:
            figures[f'corrections {count}'] = scores.mean()
            figures[f'nearest {count}'] = _scores(nearest.masks(), truth).mean()
        open_frames = [frame for frame in range(len(frames)) if frame not in labels]
        if not open_frames:
            break
        worst = min(open_frames, key=lambda frame: scores.region[frame])
        labels[worst] = _without_void(truth[worst])
        nearest.add(worst, labels[worst])
    return figures


class _Clip(NamedTuple):
    """The frames of a sequence, and how labels are propagated to them."""

    encoder: FeatureExtractor
    frames: Sequence[np.ndarray]
    short_side: int | None
    propagator: choice.Maker

    def masks(self, span: Span, labels: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Return the masks of the frames of a span, from those of some frames."""
        places = range(span.first, len(self.frames) if span.last is None else span.last + 1)
        if not any(mask.any() for mask in labels.values()):
            return dict.fromkeys(places, np.zeros_like(next(iter(labels.values()))))
        found = propagate.propagate_given(
            self.encoder,
            frame_lists.clip(self.frames),
            given_labels.GivenMasks(labels),
            short_side=self.short_side,
            propagator=self.propagator,
            span=span,
        )
        return {place: label.mask for place, label in zip(places, found)}


class _BothWays:
    """Masks from all labelled frames; stretches between them are computed once."""

    def __init__(self, clip: _Clip):
        self._clip = clip
        self._stretches: dict[tuple[int | None, ...], dict[int, np.ndarray]] = {}

    def masks(self, labels: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """Return the masks of all frames; frame 0 has a label."""
        numbers = sorted(labels)
        found: dict[int, np.ndarray] = {}
        for place, first in enumerate(numbers):
            # After the last label, the one before it is context.
            last = numbers[place + 1] if place + 1 < len(numbers) else None
            known = (first, last) if last is not None else numbers[-2:]
            if (*known, last) not in self._stretches:
                chosen = {number: labels[number] for number in known}
                self._stretches[(*known, last)] = self._clip.masks(Span(first, last), chosen)
            found.update(self._stretches[(*known, last)])
        return [found[number] for number in range(len(self._clip.frames))]


class _Nearest:
    """Masks from the nearest labelled frame alone; of two equally near ones, the earlier."""

    def __init__(self, clip: _Clip, labels: Mapping[int, np.ndarray]):
        self._clip = clip
        self._found: dict[int, dict[int, np.ndarray]] = {}
        for number, mask in labels.items():
            self.add(number, mask)

    def add(self, number: int, mask: np.ndarray) -> None:
        """Propagate one more label to all frames whose nearest label it is."""
        numbers = sorted([*self._found, number])
        near = [place for place in range(len(self._clip.frames)) if _near(numbers, place) == number]
        self._found[number] = self._clip.masks(Span(near[0], near[-1]), {number: mask})

    def masks(self) -> list[np.ndarray]:
        """Return the masks of all frames."""
        numbers = sorted(self._found)
        places = range(len(self._clip.frames))
        return [self._found[_near(numbers, place)][place] for place in places]


def _near(numbers: Sequence[int], place: int) -> int:
    return min(numbers, key=lambda number: abs(number - place))


def _without_void(mask: np.ndarray) -> np.ndarray:
    return np.where(mask == palette.VOID, 0, mask).astype(np.uint8)


def _scores(found: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> Scores:
    numbers = [int(number) for number in np.unique(_without_void(truth[0])) if number]
    pairs = [
        [(true == number, np.where(true == palette.VOID, 0, mask) == number) for number in numbers]
        for mask, true in zip(found, truth)
    ]
    region = [np.mean([metrics.region_similarity(*pair) for pair in each]) for each in pairs]
    boundary = [np.mean([metrics.boundary_accuracy(*pair) for pair in each]) for each in pairs]
    return Scores(np.array(region), np.array(boundary))
