"""The answers to signals while the main thread is in TensorFlow and runs no handler of Python."""

import re
import signal
import threading
import time

import forked_programs
import pytest

COMPUTING = """
import signal
import tensorflow as tf
from stfc3_tf.cluster import strategy
from stfc3_tf.commands import command
from stfc3_tf.training import signals

@tf.function(autograph=False)
def compute(seconds):
    end, product = tf.timestamp() + seconds, tf.eye(64)
    return tf.while_loop(
        lambda _: tf.timestamp() < end, lambda p: [tf.linalg.matmul(p, p)], [product]
    )

def handling():
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return wakeup, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

def main(_):
    before = handling()
    with signals.StopOnSignal(strategy.Workers(tf.distribute.get_strategy())) as stop:
        stop.on_train_begin()
        compute(0.01)
        print('computing', flush=True)
        compute({seconds}.0)
        print('noted', stop.agree(), flush=True)
    print('as before:', handling() == before)

command.run(main)
"""
ANSWER = 'Stopping after this step, then writing a checkpoint; again to abort.'


class Output:
    """Lines of a program, with the times at which they came."""

    def __init__(self, file):
        self._lines, self._file = [], file
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self):
        self._lines.extend((line.strip(), time.monotonic()) for line in self._file)

    def time_of(self, wanted, seconds=60):
        """Wait for a line; return when it came."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line, moment in list(self._lines):
                if line == wanted:
                    return moment
            if not self._reading.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(f'no {wanted!r} in {self._lines}')

    def all(self):
        """Return the text of a program that has ended."""
        self._reading.join(10)
        return '\n'.join(line for line, _ in self._lines)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_long_step_is_answered_at_once_and_a_second_ends_the_process(number):
    with forked_programs.Program(COMPUTING.format(seconds=40)) as program:
        output = Output(program.output)
        output.time_of('computing')
        for wanted in (ANSWER, 'interrupted'):
            time.sleep(1)
            sent = time.monotonic()
            program.signal(number)
            assert output.time_of(wanted, 10) - sent < 5
        assert program.end(1) == 128 + number
    said = output.all()
    assert said.count(ANSWER) == said.count('interrupted') == 1
    assert not re.search('noted|Traceback', said)


def test_a_signal_that_comes_twice_within_a_moment_is_one_and_the_step_is_finished():
    with forked_programs.Program(COMPUTING.format(seconds=2)) as program:
        output = Output(program.output)
        output.time_of('computing')
        # As `timeout` does: to the process, and at once to its group.
        for _ in range(2):
            program.signal(signal.SIGTERM)
            time.sleep(0.01)
        assert program.end(30) == 0
    said = output.all()
    assert said.count(ANSWER) == 1 and f'noted {int(signal.SIGTERM)}' in said
    assert 'as before: True' in said


RACING = """
import signal, sys, time
import tensorflow as tf
from stfc3_tf.cluster import strategy
from stfc3_tf.training import signals

with signals.StopOnSignal(strategy.Workers(tf.distribute.get_strategy())) as stop:
    stop.on_train_begin()
    sys.setswitchinterval(60)  # No other thread comes in between.
    signal.raise_signal(signal.SIGINT)
    stop.on_train_end()
    time.sleep(1)
"""


def test_the_answer_is_that_of_a_step_also_if_it_comes_after_the_last_one():
    with forked_programs.Program(RACING) as program:
        output = Output(program.output)
        assert program.end(30) == 0
    assert ANSWER in output.all()
