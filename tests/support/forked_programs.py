"""Programs in processes forked from one that has imported the start and end of commands.

The import takes seconds of processor time in a new process.
"""

import multiprocessing
import os
import signal
import sys

_CONTEXT = multiprocessing.get_context('forkserver')
_CONTEXT.set_forkserver_preload(['stfc3_tf.commands.command'])


class Program:
    """A running program; a context manager that kills it.

    Args:
      source: its text.
      arguments: the flags that it gets.

    Attributes:
      output: its standard output and its errors, a text file.
    """

    def __init__(self, source, *arguments):
        reader, writer = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_become, args=(source, arguments, writer))
        self._process.start()
        writer.close()
        self.output = os.fdopen(os.dup(reader.fileno()), encoding='utf-8')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self.output.close()

    @property
    def pid(self):
        """The number of its process."""
        return self._process.pid

    def signal(self, number):
        """Send it a signal."""
        os.kill(self._process.pid, number)

    def end(self, seconds=10):
        """Return its status, -number if a signal ended it; None if it does not end in time."""
        self._process.join(seconds)
        return self._process.exitcode


def command(module, *arguments):
    """Start a command of the project, as `python -m module` does."""
    source = f'import runpy\nrunpy.run_module({module!r}, run_name="__main__", alter_sys=True)'
    return Program(source, *arguments)


def _become(source, arguments, output):
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    # As a program starts: the output is no terminal, and Ctrl-C is handled by the program.
    sys.stdout = os.fdopen(1, 'w', encoding='utf-8')
    sys.stderr = os.fdopen(2, 'w', encoding='utf-8', buffering=1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ['program', *arguments]
    exec(compile(source, 'program', 'exec'), {'__name__': '__main__'})
