"""The paths in the folder of a training run, `--model_dir`.

config.gin            the settings in force when the run was last started
stream.json           the data of the run, and changes that were allowed, see `identity`
checkpoints/last/     the last checkpoints, with everything needed to resume
checkpoints/best/     the checkpoint with the best held-out score
tensorboard/          event files
saved_model/          the exported encoder, written at the end
score/                pictures of `tools.score`
training.lock         held by the training that writes to the folder, see `locked`
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import dataclasses
import pathlib
import shutil

import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.commands import received_config
from stfc3_tf.storage import lock, object_store, writing


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of a training run.

    Attributes:
      path: on any file system that TensorFlow knows.
    """

    path: str

    @property
    def config(self) -> str:
        """Path of the settings."""
        return self._join('config.gin')

    @property
    def identity(self) -> str:
        """Path of the description of the data."""
        return self._join('stream.json')

    @property
    def tensorboard(self) -> str:
        """Folder of the event files."""
        return self._join('tensorboard')

    @property
    def saved_model(self) -> str:
        """Folder of the exported encoder."""
        return self._join('saved_model')

    @property
    def score(self) -> str:
        """Folder of the pictures of `tools.score`."""
        return self._join('score')

    def checkpoints(self, which: str) -> str:
        """Return the folder of the checkpoints; `which` is 'last' or 'best'."""
        return self._join('checkpoints', which)

    def read_config(self) -> str:
        """Return the settings, as gin statements.

        Raises:
          errors.UserError: the folder holds no run, or the file cannot be a configuration.
        """
        if not tf.io.gfile.exists(self.config):
            object_store.check(self.path)
            raise errors.UserError(
                f'{self.config} does not exist: is {self.path} the --model_dir of a training run?'
            )
        return received_config.read(self.config)

    def write_config(self, text: str) -> None:
        """Write the settings, which are gin statements."""
        with reporting_writes(self.config):
            writing.write_text(self.config, text)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Return a block that keeps other trainings out of the folder, see `storage.lock`.

        It raises a UserError if another training writes there.
        """
        return lock.held(self._join('training.lock'), self._refusal)

    def _refusal(self, holder: str) -> str:
        return (
            f'--model_dir={self.path}: another training writes there ({holder}). '
            'Wait for its end, stop it, or choose another folder.'
        )

    def check_writable(self, needed_bytes: int) -> None:
        """Make the folder, and check that training can write to it and that the disk has room.

        Args:
          needed_bytes: the expected size of all checkpoints, existing ones included.

        Raises:
          errors.UserError: the folder cannot be made or written, or its disk has too little room.
        """
        probe = self._join('.writable')
        try:
            tf.io.gfile.makedirs(self.path)
            with tf.io.gfile.GFile(probe, 'w') as file:
                file.write('x')
            tf.io.gfile.remove(probe)
        except (tf.errors.OpError, OSError) as error:
            raise errors.UserError(
                f'--model_dir={self.path} cannot be written: {errors.first_line(error)}. '
                'Choose a folder you may write to.'
            ) from error
        if '://' not in self.path:
            self._check_room(needed_bytes - _bytes_in(self._join('checkpoints')))

    def _check_room(self, needed_bytes: int) -> None:
        free = shutil.disk_usage(self.path).free
        if free < needed_bytes:
            raise errors.UserError(
                f'--model_dir={self.path}: its disk has {free / 1e9:.2f} GB left, and the '
                f'checkpoints of this run need {needed_bytes / 1e9:.2f} GB more. Make room or '
                'choose another folder.'
            )

    def _join(self, *names: str) -> str:
        return tf.io.gfile.join(self.path, *names)


@contextlib.contextmanager
def reporting_writes(path: str) -> Iterator[None]:
    """Raise a UserError of one line if a write in the block fails.

    Args:
      path: the file or folder that is written.

    Raises:
      errors.UserError: the disk is full, or `path` cannot be written for another reason.
    """
    try:
        with object_store.reporting(path):
            yield
    except (tf.errors.OpError, OSError) as error:
        raise errors.UserError(
            f'Cannot write {path}: {errors.first_line(error)}. Make sure that the folder exists '
            'and has room, and run the same command again: training resumes from the last '
            'checkpoint.'
        ) from error


def _bytes_in(folder: str) -> int:
    return sum(path.stat().st_size for path in pathlib.Path(folder).rglob('*') if path.is_file())
