"""A user's request: a video, a part of it, and files with labels of some frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import posixpath
import re

from absl import logging

from stfc3_tf import checks, errors, wording
from stfc3_tf.annotation.marks import inputs, mask_file, mix_ups, other_tools
from stfc3_tf.clips import part, video
from stfc3_tf.storage import files, folders, frame_names

_NUMBERED = re.compile(r'(\d{1,9})([:=])(.+)', re.DOTALL)
_LAST_NUMBER = re.compile(r'[0-9]{1,9}$')
_MOST_NAMED = 8
_OBJECTS = re.compile(r'(\d{1,9}):(\d+(?:,\d+)*)')


@dataclasses.dataclass(frozen=True)
class Request:
    """A video and its labels; masks or points, not both.

    Attributes:
      video: a file, or a folder of pictures.
      masks: each PATH or FRAME:PATH; a path may be a folder of masks with the numbers of their
        frames in their names. Labels of frames outside the part are left out, unless FRAME or
        `frame` names them.
      points: each PATH or FRAME:PATH, see `points_file`.
      objects: each FRAME:NUMBER,NUMBER,...: the objects that the mask of a frame is about.
      frame: of labels without a number; by default the first of the part.
      start: see `part.open_part`.
      end: see `part.open_part`.
      every: see `part.open_part`.
      frame_rate: see `footage.open_footage`.
    """

    video: str
    masks: Sequence[str] = ()
    points: Sequence[str] = ()
    objects: Sequence[str] = ()
    frame: int | None = None
    start: int | None = None
    end: int | None = None
    every: int = 1
    frame_rate: float = 24.0

    def opened(self) -> tuple[part.Part, inputs.MaskAnnotation | inputs.PointAnnotation]:
        """Open the video and read the labels.

        Raises:
          errors.UserError: the video cannot be opened, or the labels cannot be read or do not fit.
        """
        if not self.masks and not self.points:
            raise errors.UserError('Give either --mask or --points.')
        if self.masks and self.points:
            raise errors.UserError(
                f'{self.video} has masks ({self.masks[0]}) and points ({self.points[0]}): give '
                'labels of one kind.'
            )
        if self.objects and self.points:
            raise errors.UserError('--objects belongs to --mask: points name what they are about.')
        for name in ('frame', 'start', 'end'):
            if getattr(self, name) is not None:
                checks.whole_number(f'--{name}', getattr(self, name), least=0)
        checks.whole_number('--every', self.every)
        paths = [[numbered(entry)[1] for entry in each] for each in (self.masks, self.points)]
        mix_ups.check(self.video, *paths)
        opened = part.open_part(self.video, self.frame_rate, self.start, self.end, self.every)
        frame = opened.first if self.frame is None else self.frame
        frames = other_tools.Frames(opened.size, opened.pictures, frame)
        annotation = self._masks(opened, frames) if self.masks else self._points(frames)
        self._check_frame_is_used(annotation)
        annotation = self._of_the_part(annotation)
        opened.keep(annotation.frames)
        return opened, annotation

    def understood(
        self,
        opened: part.Part,
        annotation: inputs.MaskAnnotation | inputs.PointAnnotation,
        note: str = '',
    ) -> str:
        """Return the files of the labels, and below them what the labels were read as.

        Args:
          opened: the video, from `opened`.
          annotation: the labels, from `opened`.
          note: stands behind the files.
        """
        heading = f'{", ".join((*self.masks, *self.points))}{note}:'
        return wording.listed(
            heading, [*annotation.description(), *self._hints(opened, annotation)]
        )

    def _hints(
        self, opened: part.Part, annotation: inputs.MaskAnnotation | inputs.PointAnnotation
    ) -> list[str]:
        """Return a line for each file of the first frame whose name ends in another's number."""
        if self.frame is not None or opened.first not in annotation.frames:
            return []
        return [
            f'{path} is taken to be of frame {opened.first}, the first: if it is of frame '
            f'{number}, as in its name, write --{flag}={number}:{path}'
            for flag, entries in (('mask', self.masks), ('points', self.points))
            for given, path in map(numbered, entries)
            if given is None and _is_of_one_frame(path, annotation.frames)
            for number in map(int, _LAST_NUMBER.findall(files.stem(path)))
            if number != opened.first and opened.may_have(number)
        ]

    def _masks(self, opened: part.Part, frames: other_tools.Frames) -> inputs.MaskAnnotation:
        objects = objects_of_frames(self.objects)
        found = inputs.read_masks_of_other_tools(self._files(self.masks), frames, objects)
        if found is not None:
            return found
        paths = mask_paths(self.masks, frames.default, self._asks_for)
        if not paths:
            raise errors.UserError(
                f'{", ".join(self.masks)}: no mask is of a frame of the part {opened.extent}: '
                'change --start or --end, or give other masks.'
            )
        mix_ups.check_pictures(list(paths.values()))
        objects = {
            frame: n for frame, n in objects.items() if frame in paths or self._asks_for(frame)
        }
        try:
            return inputs.read_masks(paths, opened.size, opened.pixel_aspect, objects)
        except mask_file.NotFlatError:
            mix_ups.check_frames(opened.frames(), self.video, self.masks)
            raise

    def _check_frame_is_used(
        self, annotation: inputs.MaskAnnotation | inputs.PointAnnotation
    ) -> None:
        entries = (*self.masks, *self.points)
        may_need = any(
            n is None and not folders.is_folder(path) for n, path in map(numbered, entries)
        )
        if self.frame is not None and not (may_need and self.frame in annotation.frames):
            raise errors.UserError(
                f'--frame={self.frame} is about no label: {", ".join(entries)} say their frames '
                f'themselves. Leave it out, or write {self.frame}:PATH for the label of that frame.'
            )

    def _of_the_part(
        self, annotation: inputs.MaskAnnotation | inputs.PointAnnotation
    ) -> inputs.MaskAnnotation | inputs.PointAnnotation:
        """Return labels without those of frames outside the part, unless none would be left."""
        entries = (*self.masks, *self.points)
        named = {self.frame, *(numbered(entry)[0] for entry in entries)}
        inside = [each for each in annotation.frames if each in named or self._asks_for(each)]
        if len(inside) == len(annotation.frames):
            return annotation
        found = annotation.only(inside)
        if not found.frames:
            return annotation
        out = sorted(set(annotation.frames) - set(inside))
        _warn_of_left_out(
            ', '.join(entries), f'labels of {wording.counted(len(out), "frame")}', out
        )
        return found

    def _asks_for(self, frame: int) -> bool:
        """Return whether `start` and `end`, where they are given, leave a frame in the part."""
        is_early = self.start is not None and frame < self.start
        return not is_early and (self.end is None or frame <= self.end)

    def _points(self, frames: other_tools.Frames) -> inputs.PointAnnotation:
        return inputs.read_point_files(self._files(self.points), frames)

    def _files(self, entries: Sequence[str]) -> list[tuple[int | None, str]]:
        """Return frame, or None where the file may say it, and path of all files of labels."""
        listed = [each for entry in entries for each in _files_in(*numbered(entry))]
        number = self.frame if len(listed) == 1 else None
        return [(number if given is None else given, path) for given, path in listed]


def _is_of_one_frame(path: str, frames: Sequence[int]) -> bool:
    """Return whether a file is of the default frame alone: pictures are, others may say theirs."""
    is_picture = path.lower().endswith(tuple(video.PICTURE_SUFFIXES))
    return not folders.is_folder(path) and (is_picture or len(frames) == 1)


def _files_in(number: int | None, path: str) -> list[tuple[int | None, str]]:
    """Return a file, or those files in a folder that may be of other tools."""
    if number is not None or not folders.is_folder(path):
        return [(number, path)]
    names = [name for name in files.names_in(path) if name.lower().endswith(other_tools.ENDINGS)]
    return [(None, posixpath.join(path, name)) for name in names] or [(None, path)]


def numbered(entry: str) -> tuple[int | None, str]:
    """Return frame and path of FRAME:PATH; None and the path of a path, or of a file so named.

    Raises:
      errors.UserError: it is FRAME=PATH, and no file.
    """
    match = _NUMBERED.fullmatch(entry)
    if match is None or ('://' not in entry and files.exists(entry)):
        return None, entry
    number, sign, path = match.groups()
    if sign == '=':
        raise errors.UserError(
            f'{entry}: there is no such file; for frame {number} write a colon, {number}:{path}.'
        )
    return int(number), path


def mask_paths(
    entries: Sequence[str], frame: int, holds: Callable[[int], bool] = lambda _: True
) -> dict[int, str]:
    """Return frame -> path of its mask.

    Args:
      entries: see `Request.masks`.
      frame: of a mask without a number.
      holds: whether a frame is in the part; masks of a folder that are of others are left out.

    Raises:
      errors.UserError: a frame has two masks, or the numbers of a folder's masks are not clear.
    """
    found: dict[int, str] = {}
    for number, path in map(numbered, entries):
        if number is None and folders.is_folder(path):
            each = _masks_of(path, holds)
        else:
            each = {frame if number is None else number: path}
        twice = sorted(set(each) & set(found))
        if twice:
            raise errors.UserError(
                f'Frame {twice[0]} has two masks, {found[twice[0]]} and {each[twice[0]]}: give '
                'one mask for each frame, as FRAME:PATH.'
            )
        found.update(each)
    return found


def _masks_of(folder: str, holds: Callable[[int], bool]) -> dict[int, str]:
    """Return frame -> path of the masks of a folder that are of the part; log which are not."""
    found = masks_in(folder)
    kept = {frame: path for frame, path in found.items() if holds(frame)}
    out = [frame for frame in found if frame not in kept]
    if out:
        _warn_of_left_out(folder, wording.counted(len(out), 'mask'), out)
    return kept


def _warn_of_left_out(where: str, what: str, frames: Sequence[int]) -> None:
    numbers = ', '.join(map(str, frames[:_MOST_NAMED]))
    logging.warning(
        '%s: %s left out, outside the part that --start and --end choose: %s%s',
        where,
        what,
        numbers,
        ', ...' if len(frames) > _MOST_NAMED else '',
    )


def masks_in(folder: str) -> dict[int, str]:
    """Return frame -> path of its mask, by the numbers in the names of the pictures of a folder.

    Raises:
      errors.UserError: there are none, or their numbers are not clear.
    """
    suffixes = tuple(video.PICTURE_SUFFIXES)
    paths = files.list_files(folder, suffixes, 'masks with the numbers of their frames')
    numbers = frame_names.numbers(paths)
    if numbers is None:
        raise errors.UserError(
            f'{folder}: which frames do its masks belong to? Their names, such as '
            f'{posixpath.basename(paths[0])}, must differ in one number alone, that of the frame.'
        )
    return dict(zip(numbers, paths))


def objects_of_frames(entries: Sequence[str]) -> Mapping[int, list[int]]:
    """Return frame -> the objects that its mask is about; see `Request.objects`."""
    found: dict[int, list[int]] = {}
    for entry in entries:
        match = _OBJECTS.fullmatch(entry.replace(' ', ''))
        if match is None:
            raise errors.UserError(
                f'--objects={entry}: write the frame and the numbers of objects, as 40:2,3.'
            )
        frame, numbers = int(match[1]), [int(number) for number in match[2].split(',')]
        if set(found.setdefault(frame, numbers)) != set(numbers):
            both = ','.join(map(str, sorted({*found[frame], *numbers})))
            raise errors.UserError(
                f'--objects={entry}: frame {frame} is named before, with others: name all objects '
                f'of its mask at once, as {frame}:{both}.'
            )
    return found
