"""Every command ends with its status within ten seconds of its last message, however it fails.

`STFC3_ENDINGS=10 pytest -s tests/project/test_endings.py` tries each ending of a training 10 times.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import forked_commands
import forked_programs
import made_videos
import numpy as np
import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[2]
needs_starter = pytest.mark.skipif(
    not hasattr(os, 'pidfd_open'), reason='needs pidfd_open, of Linux'
)
# How often each ending of a training is tried.
ENDINGS = int(os.environ.get('STFC3_ENDINGS', '1'))
LONGEST_END = 10


def start(arguments, **settings):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '2', 'CUDA_VISIBLE_DEVICES': ''},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **settings,
    )


@pytest.fixture(scope='module')
def starter():
    with forked_commands.Starter() as started:
        yield started


def end_of_training(starter, folder, message, *more, module='stfc3_tf.train'):
    """Train in a process of its own, and look for a message, a regular expression.

    Returns:
      The exit status, all output, and the seconds between the message and the end.
    """
    log, said = folder / 'log', []
    arguments = ['--gin_file=tests/support/tiny.gin', f'--model_dir={folder / "run"}', *more]
    over = threading.Event()

    def look_for_message():
        while not over.wait(0.02) and not said:
            if log.exists() and re.search(message, log.read_text(), re.MULTILINE):
                said.append(time.monotonic())

    looking = threading.Thread(target=look_for_message)
    looking.start()
    status = starter.run(module, arguments, log)
    over.set()
    looking.join()
    output = log.read_text()
    assert re.search(message, output, re.MULTILINE), output
    seconds = time.monotonic() - said[0] if said else 0.0
    return status, output, seconds


@needs_starter
@pytest.mark.slow
@pytest.mark.parametrize(
    'how, status, message',
    [
        ('raise_foreseen', 1, 'error: a callback rejects the data'),
        ('raise_unforeseen', 1, 'ValueError: a fault in a callback'),
        ('fail_reader', 1, 'a fault in a reader'),
        ('fill_disk', 1, '^error: '),
        ('remove_folder', 1, '^([A-Za-z.]*E|e)rror: '),
        ('interrupt', 130, 'interrupted'),
        ('nothing', 0, 'training: 8 steps'),
    ],
)
def test_training_ends_while_its_readers_are_at_work(starter, tmp_path, how, status, message):
    # Many steps, so that clips are read after the reader begins to fail.
    steps = 500 if how == 'fail_reader' else 8
    settings = [f'train.steps = {steps}', 'train.checkpoint_interval = 2', *ending(how)]
    bindings, longest = [f'--gin_bindings={setting}' for setting in settings], 0.0
    for number in range(ENDINGS):
        folder = tmp_path / str(number)
        folder.mkdir()
        found, output, seconds = end_of_training(
            starter, folder, message, *bindings, module='failing_training'
        )
        assert found == status, output
        # After the steps, a run that succeeds is exported.
        assert seconds < LONGEST_END or how == 'nothing', output
        assert ('Traceback' in output) == (how in ('raise_unforeseen', 'fail_reader')), output
        if how == 'nothing':
            assert (folder / 'run' / 'saved_model').exists()
        if how == 'raise_unforeseen':
            assert logged_steps(folder / 'run') == {1, 2, 3, 4, 5}
        longest = max(longest, seconds)
    print(f'{how}: {ENDINGS} times, each ended within {longest:.1f} s of its message')


def ending(how):
    return ['train.watch = @watch_and_fail', f'watch_and_fail.how = "{how}"']


def logged_steps(model_dir):
    """Return the steps whose loss is on disk."""
    (path,) = (model_dir / 'tensorboard').glob('events*')
    events = tf.compat.v1.train.summary_iterator(str(path))
    return {
        event.step for event in events for value in event.summary.value if value.tag == 'train/loss'
    }


def write_shard_without_times(path):
    """Write records in another project's form: the times of their frames are missing."""
    picture = tf.io.encode_jpeg(np.zeros([48, 48, 3], np.uint8)).numpy()
    with tf.io.TFRecordWriter(str(path / 'data.tfrecord')) as writer:
        for number in range(3):
            record = tf.train.SequenceExample()
            record.context.feature['clip/label/index'].int64_list.value.append(number)
            for _ in range(20):
                frame = record.feature_lists.feature_list['image/encoded'].feature.add()
                frame.bytes_list.value.append(picture)
            writer.write(record.SerializeToString())


def write_damaged_videos(path):
    for number in range(120):
        (path / f'{number}.mp4').write_bytes(bytes(100))


@needs_starter
@pytest.mark.slow
@pytest.mark.parametrize('write', [write_shard_without_times, write_damaged_videos])
def test_training_ends_where_no_clip_can_be_read(write, starter, tmp_path):
    (tmp_path / 'data').mkdir()
    write(tmp_path / 'data')
    longest = 0.0
    for number in range(max(2, ENDINGS)):  # The readers fail at chance moments.
        folder = tmp_path / str(number)
        folder.mkdir()
        data = f'--data={tmp_path / "data"}'
        status, output, seconds = end_of_training(starter, folder, '^error: ', data)
        assert status == 1 and 'Traceback' not in output, output
        assert seconds < LONGEST_END, output
        longest = max(longest, seconds)
    print(f'{write.__name__}: each ended within {longest:.1f} s of its message')


ENDING = """
import atexit, multiprocessing, os, sys, threading, time
from absl import flags
from stfc3_tf import errors
from stfc3_tf.commands import command
HOW = flags.DEFINE_string('how', None, '')
def main(_):
    atexit.register(lambda: print('exit handler'))
    # Both without end, and no daemons.
    multiprocessing.get_context('fork').Process(target=time.sleep, args=[600]).start()
    threading.Thread(target=threading.Event().wait).start()
    sys.stdout.write('buffered ')
    if HOW.value == 'error':
        raise errors.UserError('can be cured')
    if HOW.value == 'fault':
        raise ValueError('not foreseen')
    if HOW.value == 'text':
        sys.exit('a text')
    if HOW.value == 'full':
        sys.stdout = open('/dev/full', 'w')
        print('lost')
    if HOW.value == 'unread':
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        while True:
            print('lost')
    return int(HOW.value) if HOW.value.isdigit() else None
command.run(main)
"""


@pytest.mark.parametrize(
    'how, status, said',
    [
        ('0', 0, ''),
        ('7', 7, ''),
        ('none', 0, ''),
        ('error', 1, 'error: can be cured\n'),
        ('fault', 1, 'ValueError: not foreseen\n'),
        ('text', 1, 'a text\n'),
        ('full', 1, 'error: the output cannot be written: '),
    ],
)
def test_a_command_ends_with_its_status_and_all_its_output(how, status, said):
    with forked_programs.Program(ENDING, f'--how={how}') as program:
        output = program.output.read()
        assert program.end() == status and said in output, output
    assert ('Traceback' in output) == (how == 'fault')
    if how != 'full':
        assert 'buffered ' in output and 'exit handler\n' in output


def test_a_command_whose_output_nobody_reads_ends_without_a_word():
    with forked_programs.Program(ENDING, '--how=unread') as program:
        assert program.output.read() == '' and program.end() == 128 + signal.SIGPIPE


LOST = """
import os, signal, time
from stfc3_tf import stopping
from stfc3_tf.commands import command
class Holder:
    def __del__(self):
        os.kill(os.getpid(), {number})
        time.sleep(0)  # The handler runs here, where Python drops exceptions.
def main(_):
    if {number} == signal.SIGTERM:
        stopping.exit_on(signal.SIGTERM)
    holder = Holder()
    if {turned}:
        try:
            os.kill(os.getpid(), {number})
        except BaseException as error:
            raise OSError('turned into another error') from error
    del holder
    print('still at work', flush=True)
    while True:
        stopping.check()
command.run(main)
"""


@pytest.mark.parametrize('turned', [False, True])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_whose_exception_is_lost_or_changed_stops_the_command(number, turned):
    with forked_programs.Program(LOST.format(number=int(number), turned=turned)) as program:
        output = program.output.read()
        assert program.end() == 128 + number, output
    assert ('interrupted' in output) == (number == signal.SIGINT)
    assert ('still at work' in output) != turned
    assert 'turned into' not in output


FLAGS = """
import os, signal
from absl import flags
from stfc3_tf.commands import command
class Parser(flags.ArgumentParser):
    def parse(self, text):
        os.kill(os.getpid(), signal.SIGINT)
flags.DEFINE(Parser(), 'how', None, '')
command.run(lambda _: 0)
"""


def test_ctrl_c_while_flags_are_read_is_no_traceback():
    with forked_programs.Program(FLAGS, '--how=x') as program:
        output = program.output.read()
        assert program.end() == 130 and 'interrupted' in output, output
    assert 'Traceback' not in output, output


HANGING = """
import atexit, sys, time
from stfc3_tf.commands import command
def hang():
    print('in the exit handler', flush=True)
    time.sleep(60)
def main(_):
    if {hangs}:
        atexit.register(hang)
    print('ready', flush=True)
    time.sleep(60)
command.run(main)
"""


@pytest.mark.parametrize('hangs', [False, True])
def test_ctrl_c_ends_a_command_and_a_second_one_at_once(hangs):
    with forked_programs.Program(HANGING.format(hangs=hangs)) as program:
        assert program.output.readline() == 'ready\n'
        program.signal(signal.SIGINT)
        assert program.output.readline() == 'interrupted\n'
        if hangs:
            assert program.output.readline() == 'in the exit handler\n'
            program.signal(signal.SIGINT)
        assert program.end() == 130 and program.output.read() == ''


@pytest.mark.skipif(sys.platform != 'linux', reason='reads /proc')
@pytest.mark.skipif(not hasattr(sys, 'orig_argv'), reason='Python 3.9 does not know its arguments')
@pytest.mark.parametrize('program', [('tools.score',), ('stfc3_tf.train',), ('stfc3_tf', 'score')])
def test_ctrl_c_while_libraries_are_imported_is_no_traceback(program):
    process = start(['-m', *program, '--model_dir=nowhere'])
    maps = pathlib.Path(f'/proc/{process.pid}/maps')
    while 'libtensorflow' not in maps.read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130) and 'Traceback' not in output, output


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_ends_the_preparation_with_its_workers(tmp_path):
    (tmp_path / 'videos').mkdir()
    for number in range(20):
        made_videos.write(tmp_path / 'videos' / f'{number}.mp4', np.arange(300) / 10)
    folders = [f'--input={tmp_path / "videos"}', f'--output={tmp_path / "shards"}']
    settings = ['--workers=2', '--videos_per_task=1']
    process = start(['-m', 'tools.prepare_clips', *folders, *settings], start_new_session=True)
    while not list(tmp_path.glob('shards/tasks/*.json')):
        assert process.poll() is None
        time.sleep(0.05)
    # A terminal sends it to all processes.
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == 130
    # The output ends with the last process that can write to it, perhaps one that is starting.
    output, _ = process.communicate(timeout=60)
    assert output.splitlines()[-1] == 'interrupted' and 'Traceback' not in output, output


MEASURING = """
import os
from stfc3_tf.commands import command
from stfc3_tf.speed import alternation, timing
os.setsid()
work = 'import time; print("at work", flush=True); time.sleep(600)'
command.run(lambda _: {measure})
"""
ALONE = 'timing.in_own_process(exec, work)'
IN_TURN = 'alternation.compare((exec, (work,)), {}, rounds=1, calls=1)'


@pytest.mark.parametrize('measure', [ALONE, IN_TURN], ids=['alone', 'in turn'])
@pytest.mark.parametrize('reached', [os.kill, os.killpg])
@pytest.mark.parametrize('count', [1, 2])
def test_ctrl_c_ends_a_measurement_in_a_process_of_its_own(measure, reached, count):
    with forked_programs.Program(MEASURING.replace('{measure}', measure)) as program:
        assert program.output.readline() == 'at work\n'
        for _ in range(count):
            with contextlib.suppress(ProcessLookupError):  # The first signal may have ended it.
                reached(program.pid, signal.SIGINT)
            time.sleep(0.01)
        assert program.end() == 130
        # The output ends with the last process that can write to it.
        reading = threading.Thread(target=lambda: said.append(program.output.read()), daemon=True)
        said = []
        reading.start()
        reading.join(10)
    assert said == ['interrupted\n'] or count == 2 and said == [''], said
