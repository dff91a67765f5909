"""The interface between data sets, trackers and the runner.

A data set adds two classes: a `Benchmark` (which sequences there are, and how their records become
figures) and a `Sequence` (reads its frames and truth, writes predictions in the official format
and scores them).
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from collections.abc import Sequence as Items
import dataclasses
from typing import Any, ClassVar

from stfc3_tf.propagation.tracker import Tracker

# The results of a sequence, see `Sequence.run`.
Record = dict[str, Any]


class Sequence(abc.ABC):
    """One clip of a benchmark.

    Attributes:
      name: as in the data set's own list; unique, may contain '/'.
      output: path below OUT/predictions (a folder or a file) for this clip's predictions.
    """

    name: str
    output: str

    @abc.abstractmethod
    def files(self) -> list[str]:
        """Return every file of the clip; their contents identify the data of a record."""

    @abc.abstractmethod
    def check(self) -> int:
        """Check all files before anything is computed.

        Returns:
          The number of frames that `run` will track.

        Raises:
          errors.UserError: a file is not as expected; the message names both.
        """

    @abc.abstractmethod
    def run(self, tracker: Tracker, output: str) -> Record:
        """Track the clip, write predictions to `output` and score them.

        Args:
          tracker: its `track` may be called several times (query points of different frames).
          output: where to write; the runner moves it to `self.output` when it is complete.

        Returns:
          A dictionary, of which only the first entry is required: 'metrics', {name: float, NaN if
          undefined}; 'counts', which `Benchmark.summary` adds up; 'footage', which of several forms
          of the frames was read; 'per_frame', kept only in the sequence's own file.
        """


@dataclasses.dataclass(frozen=True)
class Benchmark(abc.ABC):
    """A data set under one protocol; a dataclass whose fields are the protocol's settings.

    The field `data_dir`, if there is one, says where the data set is; it is not a setting.
    """

    task: ClassVar[str]

    @abc.abstractmethod
    def sequences(self) -> Items[Sequence]:
        """Return all clips in the official order; raise UserError if their list is missing."""

    @abc.abstractmethod
    def summary(self, records: Mapping[str, Record]) -> dict[str, float]:
        """Return the benchmark's figures from the records of its clips; None stands for NaN."""

    def settings(self) -> dict[str, Any]:
        """Return every field that changes the figures."""
        fields = dataclasses.asdict(self)
        fields.pop('data_dir', None)
        return fields

    def reports(self, records: Mapping[str, Record]) -> dict[str, str]:
        """Return the contents of the official toolkit's tables, if it has any, by file name."""
        del records
        return {}
