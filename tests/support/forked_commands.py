"""Commands in processes that need not import TensorFlow: forks of one that has.

Each line of standard input is a command as JSON, with the arguments of `Starter.run`. Each line of
standard output is its status.
"""

import json
import os
import pathlib
import resource
import runpy
import select
import signal
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
# Seconds that a command may take to end after a signal.
LONGEST_END = 60
# Library modules only: those of commands define flags, some of the same name.
IMPORTED = (
    'tiny_encoder',
    'stfc3_tf.annotation.video_job',
    'stfc3_tf.benchmarks.evaluation',
    'stfc3_tf.benchmarks.tasks',
    'stfc3_tf.commands.command',
    'stfc3_tf.preparation.run',
    'stfc3_tf.serving.export',
    'stfc3_tf.serving.loading',
    'stfc3_tf.training.reload',
    'stfc3_tf.training.run',
)


class Starter:
    """Starts commands. It is a context manager."""

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', 'CUDA_VISIBLE_DEVICES': ''},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == 'ready\n'
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.wait(60)

    def run(self, module, arguments, log, seconds=300.0, number=signal.SIGKILL, largest_file=None):
        """Run a command to its end.

        Args:
          module: of the command.
          arguments: of the command.
          log: file for its output and errors.
          seconds: after which it gets a signal.
          number: the signal.
          largest_file: bytes of the largest file that it can write; all, if None.

        Returns:
          The status; -number if the signal ended the command.
        """
        command = dict(locals(), log=str(log), number=int(number))
        del command['self']
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


def run_forked(module, arguments, log, seconds, number, largest_file):
    # Through a pipe, as the limit would count for the log too.
    with (
        open(log, 'wb') as file,
        subprocess.Popen(
            ['cat'], stdin=subprocess.PIPE, stdout=file, start_new_session=True
        ) as copying,
    ):
        child = os.fork()
        if not child:
            become(module, arguments, copying.stdin.fileno(), largest_file)
        copying.stdin.close()
        exited = os.pidfd_open(child)
        if not select.select([exited], [], [], seconds)[0]:
            os.kill(child, number)
            if not select.select([exited], [], [], LONGEST_END)[0]:
                os.kill(child, signal.SIGKILL)
        os.close(exited)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become(module, arguments, output, largest_file):
    """Run a command in this process, which ends with it."""
    os.setsid()
    for here, there in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(here, there)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    # As `python -m` has it until the command handles the signal.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name='__main__', alter_sys=True)
    finally:
        os._exit(99)  # Commands end the process themselves.


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    for name in IMPORTED:
        __import__(name)
    print('ready', flush=True)
    for line in sys.stdin:
        print(run_forked(**json.loads(line)), flush=True)
    os._exit(0)  # TensorFlow can take minutes to end on a busy machine.
