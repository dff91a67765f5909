"""Checks of flags and --help before any large library is imported.

The module of a command defines its flags when it is imported, and imports TensorFlow with it. Here
it is imported with stand-ins for the libraries: objects that take every attribute, call, operator
and subclass. Nothing else can be done with such a process, so the command is then started again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import importlib.abc
import importlib.machinery
import os
import re
import runpy
import sys
from types import ModuleType
from typing import Any, NoReturn

from stfc3_tf import stack, stopping

# What takes time to import. What is not named here is imported as it is.
_LIBRARIES = (
    *('PIL', 'av', 'cv2', 'gin', 'keras', 'keras_cv', 'matplotlib', 'numpy', 'scipy'),
    *('tensorboard', 'tensorflow', 'tensorflow_addons', 'tensorflow_io', 'tf_keras'),
    *('ai_edge_litert', 'apache_beam', 'grpc', 'onnx', 'onnxruntime', 'tensorflow_serving'),
)
# Names the process whose flags are checked: the second start of a command.
_CHECKED = 'STFC3_FLAGS_CHECKED'


class _FlagsAreRight(Exception):
    """Ends the import of a command whose flags are right."""


def check_command_of_python(commands: str) -> None:
    """Check the flags of `python -m package.module`, while Python imports the package.

    Python 3.9 does not know the name of the module by then; there the command checks its flags.

    Args:
      commands: regular expression of the modules that are commands.
    """
    if sys.argv[:1] != ['-m'] or not hasattr(sys, 'orig_argv'):
        return
    module = re.sub('^-m', '', sys.orig_argv[-len(sys.argv)])
    if re.fullmatch(commands, module) and not is_checked():
        arguments = sys.argv[1:]
        check_and_start_again(f'python -m {module}', module, arguments, sys.orig_argv[1:])


def is_checked() -> bool:
    """Return whether this process checked its flags before it was started again."""
    return os.environ.pop(_CHECKED, None) == str(os.getpid())


def check_and_start_again(
    program: str, module: str, arguments: Sequence[str], command: Sequence[str]
) -> NoReturn:
    """Check the flags of a command, then restart this process to run it.

    Args:
      program: how the command is called, for messages.
      module: the module that runs it.
      arguments: its flags.
      command: all arguments of Python for the second start.

    Raises:
      SystemExit: help was printed, or the flags are wrong, which was printed.
    """
    stopping.end_on_closed_pipe(True)
    check(program, module, arguments)
    if sys.stdout is not None:  # It is None if the caller closed it.
        sys.stdout.flush()
    # `execv` keeps the process number, so that only this process takes its flags as checked.
    os.environ[_CHECKED] = str(os.getpid())
    stack.use_one_blas_thread()
    os.execv(sys.executable, [sys.executable, *command])


def check(program: str, module: str, arguments: Sequence[str]) -> bool:
    """Check the flags of a command.

    Args:
      program: how the command is called, for messages.
      module: the module that runs it.
      arguments: its flags.

    Returns:
      Whether the flags could be checked. If not, the command itself will check them.

    Raises:
      SystemExit: help was printed, or the flags are wrong, which was printed.
    """
    sys.argv = [program, *arguments]
    sys.meta_path.insert(0, _StandInFinder())
    command = ModuleType('stfc3_tf.commands.command')
    command.run = _parse_flags(program, module)  # type: ignore[attr-defined]
    sys.modules[command.__name__] = command
    try:
        runpy.run_module(module, run_name='__main__', alter_sys=True)
    except _FlagsAreRight:
        return True
    except Exception:  # noqa: BLE001 A stand-in was not enough.
        return False
    return False


def _parse_flags(program: str, module: str) -> Callable[[Any], NoReturn]:
    """Return a `command.run` that parses the flags and ends."""

    def run(_: Any) -> NoReturn:
        """Stand for `command.run`: parse the flags, with help for `program`."""
        from absl import app

        from stfc3_tf.commands import flag_errors

        main = sys.modules['__main__']
        name = re.escape(module.replace('stfc3_tf.tools', 'tools'))
        main.__doc__ = re.sub(rf'python -m {name}\b', program, main.__doc__ or '')
        app.run(_end, flags_parser=flag_errors.parse)
        raise AssertionError('unreachable')

    def _end(_: Sequence[str]) -> NoReturn:
        raise _FlagsAreRight

    return run


class _StandIn:
    """Stands for anything that a library defines."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') and name != '__version__':
            raise AttributeError(name)
        return '0' if name == '__version__' else self

    def __mro_entries__(self, _: tuple[Any, ...]) -> tuple[type, ...]:
        """Disappear from the bases of a class."""
        return ()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self

    def __getitem__(self, _: Any) -> Any:
        return self

    def __setitem__(self, _: Any, __: Any) -> None:
        return None

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __float__(self) -> float:
        return 1.0

    def __int__(self) -> int:
        return 1

    def __index__(self) -> int:
        return 1

    def _binary(self, _: Any) -> Any:
        return self

    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _binary
    __matmul__ = __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = _binary  # type: ignore
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rmod__ = __rpow__ = _binary
    __rand__ = __ror__ = __rlshift__ = __lt__ = __le__ = __gt__ = __ge__ = _binary

    def __neg__(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        return None


_STAND_IN = _StandIn()


class _StandInModule(ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(_STAND_IN, name)


class _StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the libraries, and loads stand-ins for them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the specification of a stand-in, or None where the library itself is to come."""
        if name.partition('.')[0] not in _LIBRARIES:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return the stand-in."""
        return _StandInModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a stand-in has everything."""
