"""Choose Keras 2 and hide TensorFlow's start-up messages, before TensorFlow is imported.

The package runs on TensorFlow 2.15, whose Keras is Keras 2, and on newer versions with tf-keras.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
import ctypes
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import logging
import os
import re
import sys
import tempfile
from types import ModuleType

from absl import logging as absl_logging

# TensorFlow's own level of messages: 0 shows everything, 2 errors, 3 what ends the process.
_LEVEL = 'TF_CPP_MIN_LOG_LEVEL'
_VERBOSE = re.compile(r'-?-(v|verbosity)=([1-9]\d*)')


def prepare() -> None:
    """Prepare this process for the import of TensorFlow, or check a TensorFlow that is imported.

    Raises:
      ImportError: TensorFlow runs with Keras 3, or tf-keras is not installed.
    """
    if needs_tf_keras():
        if importlib.util.find_spec('tf_keras') is None:
            raise ImportError(
                'stfc3_tf needs Keras 2, which is a package of its own for TensorFlow 2.16 and '
                'later: pip install tf-keras'
            )
        os.environ['TF_USE_LEGACY_KERAS'] = '1'
    if 'tensorflow' in sys.modules:
        _check_keras(sys.modules['tensorflow'])
    elif not _is_verbose(sys.argv):
        # Without a GPU, TensorFlow logs its absence and slower code paths as errors.
        level = os.environ.setdefault(_LEVEL, '2' if _has_gpu_driver() else '3')
        if level >= '2':
            sys.meta_path.insert(0, _QuietImport())
            _silence_loggers()


def use_one_blas_thread() -> None:
    """Let NumPy use one thread for matrix products in the processes that are started from here.

    Beside TensorFlow only small matrices are multiplied with NumPy, such as those of built-in
    scenes. On busy processors OpenBLAS loses far more time by waiting for its own threads than it
    wins. Without TensorFlow, propagation needs all threads. A number of threads that was set stays.
    """
    if importlib.util.find_spec('tensorflow') is not None:
        os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')


def needs_tf_keras() -> bool:
    """Return whether TensorFlow is installed and comes with Keras 3, as 2.16 and later do."""
    if importlib.util.find_spec('tensorflow') is None:
        return False
    try:
        return int(importlib.metadata.version('keras').split('.')[0]) >= 3
    except importlib.metadata.PackageNotFoundError:
        return False


def _check_keras(tensorflow: ModuleType) -> None:
    model = getattr(getattr(tensorflow, 'keras', None), 'Model', None)
    if needs_tf_keras() and model is not None and not model.__module__.startswith('tf_keras'):
        raise ImportError(
            'TensorFlow already runs with Keras 3, and stfc3_tf needs Keras 2: import stfc3_tf '
            'before anything that uses tf.keras, or set TF_USE_LEGACY_KERAS=1 before Python starts.'
        )


def _is_verbose(arguments: Sequence[str]) -> bool:
    """Return whether a command line has --verbosity=1 or more, in one argument or in two."""
    return _VERBOSE.search(' '.join(arguments).replace('verbosity ', 'verbosity=')) is not None


class _QuietImport(importlib.abc.MetaPathFinder):
    """Imports TensorFlow without its messages about libraries that it does not find."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the specification of TensorFlow with a loader that is quiet."""
        if name != 'tensorflow':
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _QuietLoader(spec.loader)
        return spec


class _QuietLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader):
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Create the module as the original loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module; if there is no GPU driver, also list GPUs, which logs messages."""
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self._loader
        with kept_errors():
            self._loader.exec_module(module)
            if not _has_gpu_driver():
                module.config.list_physical_devices()


def _silence_loggers() -> None:
    """Hide what TensorFlow's Python modules log below the level of warnings."""
    logging.getLogger('tensorflow').setLevel(logging.WARNING)
    # logging.getLogger would make a plain logger, which does not know the callers of messages.
    absl_logging.get_absl_logger().addFilter(_is_ours_or_warning)


def _is_ours_or_warning(record: logging.LogRecord) -> bool:
    folder = f'{os.sep}site-packages{os.sep}tensorflow{os.sep}'
    return record.levelno >= logging.WARNING or folder not in record.pathname


def _has_gpu_driver() -> bool:
    try:
        ctypes.CDLL('libcuda.so.1')
    except OSError:
        return False
    return True


@contextlib.contextmanager
def kept_errors() -> Iterator[None]:
    """Keep what is printed to standard error, also by C++; print it only if the block fails."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        standard_error = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(standard_error, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(standard_error, 2)
            os.close(standard_error)
