"""An encoder that is loaded while the page is already there."""

from __future__ import annotations

from collections.abc import Callable
import threading
from typing import Any

from absl import logging

from stfc3_tf import errors
from stfc3_tf.propagation import extractor
from stfc3_tf.propagation.extractor import FeatureExtractor


class LoadingEncoder:
    """An encoder that is loaded in a thread of its own."""

    def __init__(self, load: Callable[[], FeatureExtractor]):
        """Begin to load."""
        self._load = load
        self._found: FeatureExtractor | None = None
        self.identity: dict[str, Any] = {}
        self.message = ''
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def state(self) -> str:
        """'loading', 'ready' or 'failed'."""
        if self.message:
            return 'failed'
        return 'ready' if self._found is not None else 'loading'

    def get(self) -> FeatureExtractor:
        """Return the encoder, when it is loaded; raise UserError if it cannot be."""
        self._thread.join()
        if self._found is None:
            raise errors.UserError(self.message)
        return self._found

    def _run(self) -> None:
        try:
            found = self._load()
            self.identity = extractor.identity(found)
            self._found = found
        except errors.UserError as error:
            self.message = str(error)
        except Exception as error:  # noqa: BLE001 The page has to say it, whatever it is.
            logging.exception('The encoder cannot be loaded')
            self.message = f'The encoder cannot be loaded: {errors.one_line(error)}'
