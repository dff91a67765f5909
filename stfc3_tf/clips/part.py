"""A part of a video, with the numbers that people know its frames by.

Frames of a video file are numbered from 0. Pictures in a folder have the numbers in their names,
where these are clear: the first of 0043.png, 0044.png, ... is frame 43.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator
import dataclasses
import posixpath

from stfc3_tf import checks, errors
from stfc3_tf.clips import decoder, video
from stfc3_tf.clips.footage import Footage, open_footage
from stfc3_tf.clips.frame import Frame
from stfc3_tf.storage import folders, frame_names


def open_part(
    path: str,
    assumed_rate: float = decoder.ASSUMED_RATE,
    start: int | None = None,
    end: int | None = None,
    every: int = 1,
) -> Part:
    """Open a part of a video.

    Args:
      path: see `footage.open_footage`.
      assumed_rate: see `footage.open_footage`.
      start: number of the first frame; by default the video's first.
      end: number of the last frame; by default the video's last.
      every: 1 for all frames between, 2 for every second one, and so on.

    Raises:
      errors.UserError: see `footage.open_footage`; or no frame is left.
    """
    checks.whole_number('every', every)
    opened, names = open_footage(path, assumed_rate), _names_in(path)
    numbers = _numbers_of(names)
    pictures = dict(zip(names, numbers or range(len(names))))
    return Part(opened, numbers, pictures, start, end, every)


def numbers_in(path: str) -> list[int] | None:
    """Return the numbers of the frames of a video, ascending; None if they are 0, 1, ..."""
    return _numbers_of(_names_in(path))


def _numbers_of(names: list[str]) -> list[int] | None:
    """See `numbers_in`."""
    numbers = frame_names.numbers(names)
    if not numbers or numbers != sorted(numbers) or numbers == [*range(len(numbers))]:
        return None
    return numbers


def _names_in(path: str) -> list[str]:
    """Return the names of the pictures of a folder, in order; [] for a video file."""
    if not folders.is_folder(path):
        return []
    return [posixpath.basename(picture) for picture in video.pictures_in(path)]


class Part:
    """Some frames of a video; see `footage.Footage` for the attributes that are not here.

    Attributes:
      first: number of its first frame.
      pictures: name -> number of the frames of a folder of pictures.
    """

    def __init__(
        self,
        footage: Footage,
        numbers: list[int] | None,
        pictures: dict[str, int],
        start: int | None,
        end: int | None,
        every: int,
    ):
        """Choose the frames.

        Args:
          footage: the whole video.
          numbers: of its frames, ascending; None for 0, 1, ...
          pictures: see the class.
          start: see `open_part`.
          end: see `open_part`.
          every: see `open_part`.
        """
        self._footage, self._numbers, self._every = footage, numbers, every
        self.name, self.size, self.pictures = footage.name, footage.size, pictures
        self.frame_rate, self.pixel_aspect = footage.frame_rate / every, footage.pixel_aspect
        self.first = self._first_from(start)
        self._first_place = self._place(self.first)
        self._end = float('inf') if end is None else end
        if self.first > self._end:
            raise errors.UserError(
                f'The first frame of {self.name} from start={start} on is {self.first}, behind '
                f'end={end}: no frame is left.'
            )
        self._also: frozenset[int] = frozenset()

    def keep(self, numbers: Collection[int]) -> None:
        """Add these frames, whatever `every` is.

        Raises:
          errors.UserError: one lies before the start or behind the end, or outside the video.
        """
        for number in sorted(numbers):
            if not self.holds(number):
                if self._numbers and not self._numbers[0] <= number <= self._numbers[-1]:
                    raise errors.UserError(f'{self._lacks(number)} Label another one.')
                raise errors.UserError(
                    f'Frame {number} is labelled, but the part of {self.name} goes {self.extent}: '
                    'change --start or --end, or leave out its labels.'
                )
        self._also = frozenset(numbers)

    def holds(self, number: int) -> bool:
        """Return whether a frame lies between its first and its last one."""
        return self.first <= number <= self._end

    def may_have(self, number: int) -> bool:
        """Return whether the video has a frame in the part, as far as that is known unread."""
        if self._numbers is not None:
            return self.holds(number) and number in self._numbers
        count = self._footage.stated_count
        return self.holds(number) and (count is None or number < count)

    @property
    def extent(self) -> str:
        """The numbers between which its frames lie, for messages."""
        end = '' if self._end == float('inf') else f' to {self._end}'
        return f'from frame {self.first}{end}'

    @property
    def chosen(self) -> dict[str, int | None]:
        """Which frames it has, ready for JSON."""
        end = None if self._end == float('inf') else int(self._end)
        return {'start': self.first, 'end': end, 'every': self._every}

    @property
    def stated_count(self) -> int | None:
        """About how many frames it has, or None; see `footage.Footage.stated_count`."""
        count = self._footage.stated_count
        if count is None:
            return None
        places = range(len(self._numbers) if self._numbers else count)
        return max(1, sum(map(self._is_chosen, places)))

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `footage.Footage.frames`; `start` is the number of a frame of this part, or less."""
        begin = max(start, self.first)
        if self._numbers is not None and begin > self._numbers[-1]:
            raise errors.UserError(self._lacks(begin))
        for frame in self._footage.frames(self._place(begin)):
            number = self._number(frame.number)
            if number > self._end:
                return
            if self._is_chosen(frame.number):
                yield dataclasses.replace(frame, number=number)

    def backwards(self, stop: int) -> Iterator[Frame]:
        """See `footage.Footage.backwards`."""
        for frame in self._footage.backwards(self._place(stop)):
            number = self._number(frame.number)
            if number < self.first:
                return
            if self._is_chosen(frame.number):
                yield dataclasses.replace(frame, number=number)

    def _lacks(self, number: int) -> str:
        """Return the message that the names of the frames do not go as far as this number."""
        numbers = self._numbers or [0]
        return (
            f'{self.name} has no frame {number}: its {len(numbers)} frames are numbered from '
            f'{numbers[0]} to {numbers[-1]}, as in their names.'
        )

    def _number(self, place: int) -> int:
        return place if self._numbers is None else self._numbers[place]

    def _place(self, number: int) -> int:
        """Return the place of the first frame with this number or a larger one."""
        return number if self._numbers is None else bisect.bisect_left(self._numbers, number)

    def _first_from(self, start: int | None) -> int:
        """Return the number of the first frame from `start` on; `start` itself if there is none."""
        if start is None:
            return self._number(0)
        place = self._place(start)
        is_behind = self._numbers is not None and place == len(self._numbers)
        return start if is_behind else self._number(place)

    def _is_chosen(self, place: int) -> bool:
        """Return whether the frame at this place of the video is one of the part."""
        number = self._number(place)
        in_step = (place - self._first_place) % self._every == 0
        return self.holds(number) and (in_step or number in self._also)
