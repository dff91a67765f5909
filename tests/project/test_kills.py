"""Commands killed at random moments and started again lose nothing and end as if never killed.

`STFC3_KILLS=50 pytest -s tests/project/test_kills.py` kills every command 50 times, and stops some
of them as often by other signals.
"""

from collections.abc import Callable, Sequence
import dataclasses
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import time

import forked_commands
import made_videos
import moving_patches
import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, 'pidfd_open'), reason='needs pidfd_open, of Linux'),
]
KILLS = int(os.environ.get('STFC3_KILLS', '1'))


@dataclasses.dataclass
class Case:
    """A command that can be killed.

    Attributes:
      module: of the command.
      arguments: of the command; '{output}' stands for its output folder.
      kept: folder -> what is finished there, name -> value; nothing of it may be lost.
      begin: makes the folder before the first start.
      refuses_whole: whether it refuses the folder of a call that was killed after its last rename.
    """

    module: str
    arguments: Sequence[str]
    kept: Callable[[pathlib.Path], dict]
    begin: Callable[[pathlib.Path], None] = lambda folder: None
    refuses_whole: bool = False


@pytest.fixture(scope='module')
def starter():
    with forked_commands.Starter() as started:
        yield started


def files_in(folder):
    """Name -> bytes of all files below a folder."""
    files = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def without_seconds(contents):
    """Return JSON without what differs from run to run."""
    found = json.loads(contents)
    for part in (found, *found.get('sequences', {}).values()):
        part.pop('seconds', None)
    return found


def training(folder, starter):
    del folder, starter
    arguments = ['--gin_file=tests/support/tiny.gin', '--model_dir={output}']
    return Case('stfc3_tf.train', arguments, trained)


def trained(folder):
    """The variables of all checkpoints, and of the export."""
    found = {}
    for path in folder.glob('checkpoints/last/*.index'):
        reader = tf.train.load_checkpoint(str(path.with_suffix('')))
        names = set(reader.get_variable_to_shape_map()) - {'_CHECKPOINTABLE_OBJECT_GRAPH'}
        found[path.stem] = {name: np.array(reader.get_tensor(name)).tobytes() for name in names}
    if (folder / 'saved_model').exists():
        found['saved_model'] = exported_files(folder / 'saved_model')
    return found


def preparation(folder, starter):
    del starter
    folder.mkdir()
    for number in range(6):
        made_videos.write(folder / f'{number}.mp4', np.arange(20 + 8 * number) / 10)
    settings = ['--short_side=24', '--videos_per_task=1', '--segment_seconds=2', '--workers=1']
    arguments = [f'--input={folder}', '--output={output}', *settings]
    return Case('tools.prepare_clips', arguments, prepared)


def prepared(folder):
    """The reports of finished tasks, with the shards that they name."""
    found = {}
    for report in folder.glob('tasks/*.json'):
        shards = json.loads(report.read_text())['shards']
        found[report.name] = report.read_bytes()
        found.update({shard['name']: (folder / shard['name']).read_bytes() for shard in shards})
    if (folder / 'index.json').exists():
        found.update(files_in(folder))
    return found


def evaluation(folder, starter):
    del starter
    names = 'one', 'two', 'three', 'four'
    (folder / 'ImageSets/2017').mkdir(parents=True)
    (folder / 'ImageSets/2017/val.txt').write_text('\n'.join(names))
    for kind in ('JPEGImages', 'Annotations'):
        for name in names:
            (folder / kind / '480p' / name).mkdir(parents=True)
    for shift, name in enumerate(names):
        for number in range(moving_patches.FRAMES):
            frame, mask = moving_patches.scene((number + shift) % moving_patches.FRAMES)
            file = f'{name}/{number:05d}'
            Image.fromarray(frame).save(folder / f'JPEGImages/480p/{file}.jpg')
            Image.fromarray(mask // 2).save(folder / f'Annotations/480p/{file}.png')
    arguments = ['--task=davis', f'--data_dir={folder}', '--baseline=colour']
    return Case('tools.evaluate', [*arguments, '--output_dir={output}'], evaluated)


def evaluated(folder):
    """The records and predictions of finished sequences, and the results."""
    found = {}
    for path in folder.glob('sequences/*.json'):
        found[path.name] = without_seconds(path.read_text())
        found[path.stem] = files_in(folder / 'predictions' / path.stem)
    if (folder / 'results.json').exists():
        found['results'] = without_seconds((folder / 'results.json').read_text())
    return found


def propagation(folder, starter):
    del starter
    folder.mkdir()
    arguments = [
        f'--saved_model={moving_patches.save_model(str(folder / "model"))}',
        f'--video={moving_patches.write_folder(folder / "frames", 21)}',
        f'--mask={moving_patches.write_mask(folder / "mask.png", 3)}',
        '--frame=3',
    ]
    arguments += ['--output_dir={output}']
    return Case('tools.propagate', arguments, files_in, refuses_whole=True)


def export(folder, starter):
    """An older export is there, of which everything stays until the new one is whole."""
    run, old = training(folder, starter), folder / 'old'
    for name, more in (('run', []), ('other', ['--gin_bindings=train.seed = 1'])):
        arguments = [text.format(output=folder / name) for text in (*run.arguments, *more)]
        (folder / name).mkdir(parents=True)
        assert starter.run(run.module, arguments, folder / f'{name}.log') == 0
    arguments = [f'--model_dir={folder / "other"}', f'--output_dir={old}']
    assert starter.run('tools.export', arguments, folder / 'export.log') == 0
    of_old = exported_files(old)

    def kept(output):
        found = exported_files(output)
        assert found.keys() == of_old.keys()
        return {} if found == of_old else found

    arguments = [f'--model_dir={folder / "run"}', '--output_dir={output}']
    return Case('tools.export', arguments, kept, lambda output: shutil.copytree(old, output))


def exported_files(folder):
    """The files of an export; of graphs, whose functions have chance names, only that they are."""
    graphs, found = ('saved_model.pb', 'fingerprint.pb'), files_in(folder)
    checksum = hashlib.sha256(found['saved_model.pb']).hexdigest().encode()
    assert checksum in found['MODEL_CARD.md']
    found['MODEL_CARD.md'] = found['MODEL_CARD.md'].replace(checksum, b'')
    return {name: name in graphs or content for name, content in found.items()}


def names_beside(output):
    """The names of all files at and beside an output folder, except those with times in them."""
    return {name for name in files_in(output.parent) if 'tfevents' not in name}


COMMANDS = [training, preparation, evaluation, propagation, export]


@pytest.mark.parametrize('make', COMMANDS)
def test_a_command_that_is_killed_ends_as_if_it_never_was(make, starter, tmp_path):
    case = make(tmp_path / 'inputs', starter)

    def start(place, seconds=300.0):
        arguments = [text.format(output=place / 'output') for text in case.arguments]
        status = starter.run(case.module, arguments, tmp_path / 'log', seconds)
        assert status in (0, -signal.SIGKILL), (tmp_path / 'log').read_text()
        return status

    def place_of(name):
        (tmp_path / name).mkdir()
        case.begin(tmp_path / name / 'output')
        return tmp_path / name

    def assert_as_unbroken(place):
        found = case.kept(place / 'output')
        assert found.keys() == expected.keys()
        assert [name for name in expected if found[name] != expected[name]] == []
        assert names_beside(place / 'output') == names_beside(unbroken / 'output')

    unbroken, began = place_of('unbroken'), time.monotonic()
    assert start(unbroken) == 0
    longest = time.monotonic() - began
    expected = case.kept(unbroken / 'output')

    moments = random.Random(f'{make.__name__} {KILLS}')
    kills, runs, place, before = 0, 0, place_of('0'), {}
    while kills < KILLS:
        ended = start(place, moments.uniform(0, longest)) == 0
        now = case.kept(place / 'output')
        if ended:
            assert_as_unbroken(place)
        else:
            kills += 1
            assert before.keys() <= now.keys()
            assert [name for name in before if before[name] != now[name]] == []
            before = now
        if ended or (case.refuses_whole and now == expected):
            shutil.rmtree(place)
            runs += 1
            place, before = place_of(str(runs)), {}
    assert start(place) == 0
    assert_as_unbroken(place)
    print(f'{case.module}: {kills} kills, {runs + 1} runs that ended as the unbroken one')


@pytest.mark.parametrize(
    'make, number',
    [
        (training, signal.SIGINT),
        (training, signal.SIGTERM),
        (evaluation, signal.SIGINT),
        (propagation, signal.SIGINT),
        (propagation, signal.SIGTERM),
    ],
)
def test_a_command_that_is_stopped_ends_with_the_status_of_the_signal(
    make, number, starter, tmp_path
):
    case, log = make(tmp_path / 'inputs', starter), tmp_path / 'log'
    moments = random.Random(f'{make.__name__} {KILLS}')
    stopped, runs, longest = 0, 0, 4.0
    while stopped < KILLS:
        output = tmp_path / str(runs) / 'output'
        arguments = [text.format(output=output) for text in case.arguments]
        began = time.monotonic()
        status = starter.run(case.module, arguments, log, moments.uniform(0, longest), number)
        said = log.read_text()
        # Before the command handles it, the signal itself ends the process.
        assert status in (0, 128 + number, -number) and 'Traceback' not in said, said
        if status:
            stopped += status == 128 + number
            assert make is not propagation or not names_beside(output)
        else:
            longest = time.monotonic() - began
        if status == -number:
            longest *= 1.2  # On a busy machine the start alone takes long.
        runs += 1
    print(f'{case.module}: stopped {stopped} times by signal {int(number)}, in {runs} runs')
