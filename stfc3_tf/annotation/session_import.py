"""Labels from files, put into a session in which nothing is marked yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
import dataclasses

import numpy as np

from stfc3_tf import errors
from stfc3_tf.annotation.marks.inputs import MaskAnnotation, PointAnnotation
from stfc3_tf.annotation.session import COLOURS, LONGEST_NAME, MOST_OBJECTS, Session, Thing, Things


@dataclasses.dataclass(frozen=True)
class Import:
    """Labels from files.

    Attributes:
      masks: of some frames.
      points: of some frames.
    """

    masks: MaskAnnotation | None = None
    points: PointAnnotation | None = None

    def things(self) -> Things:
        """Return the objects and points that are labelled.

        Raises:
          errors.UserError: there are too many for a session.
        """
        objects = self.masks.given.numbers if self.masks else []
        names = self.masks.names if self.masks else {}
        points = enumerate(self.points.names if self.points else (), 1)
        return Things(
            _named('object', ((n, names.get(n, '')) for n in objects), 0),
            # The first points are drawn over the first objects: they have other colours.
            _named('point', points, 3),
        )

    def put(self, session: Session, place: Callable[[int], int]) -> None:
        """Mark what is labelled, unless something is marked or named in the session.

        Args:
          session: is changed.
          place: returns where in the video a frame with a number is.

        Raises:
          errors.UserError: see `things`; or the files of the session cannot be written.
        """
        if session.masks or session.points or session.things != Things():
            return
        session.set_things(self.things())
        if self.masks:
            given = self.masks.given
            for frame, mask in given.masks.items():
                about = given.about(frame)
                ours = np.where(np.isin(mask, about), mask, 0).astype(np.uint8)
                session.put_mask(place(frame), ours, about)
        if self.points:
            for frame, points in self.points.given.points.items():
                session.put_points(place(frame), {n + 1: _at(at) for n, at in points.items()})


def places(numbers: Sequence[int] | None) -> Callable[[int], int]:
    """Return what `Import.put` takes, for a video whose frames have these numbers, or 0, 1, ..."""
    return (lambda frame: frame) if numbers is None else numbers.index


def _at(position: Iterable[float]) -> tuple[float, float] | None:
    x, y = map(float, position)
    return (x, y) if np.isfinite(x) and np.isfinite(y) else None


def _named(kind: str, found: Iterable[tuple[int, str]], colour: int) -> list[Thing]:
    """Return objects or points; those without a name, or with that of another, get one."""
    things: list[Thing] = []
    taken: set[str] = set()
    for number, given in found:
        if number > MOST_OBJECTS:
            raise errors.UserError(
                f'The labels have {kind} {number}, and a session at most {MOST_OBJECTS} {kind}s: '
                'leave some out.'
            )
        name = given.strip()[:LONGEST_NAME]
        if not name or name in taken:
            name = f'{kind} {number}'
        while name in taken:
            name += "'"
        taken.add(name)
        things.append(Thing(number, name, COLOURS[(number - 1 + colour) % len(COLOURS)]))
    return things
