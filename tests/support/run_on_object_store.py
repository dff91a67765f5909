"""Run all steps on s3:// with your own data, then the same steps on the local disk.

    python tests/support/run_on_object_store.py --videos=FOLDER --davis=FOLDER --jhmdb=FOLDER

The store is a server on loopback. Videos and data sets are uploaded and shards are prepared; a
small model is trained, killed with SIGKILL while it writes a checkpoint, resumed and exported; the
export is evaluated. Prints the seconds and the last lines of each step. Leaves no files.
"""

from __future__ import annotations

from collections.abc import Sequence
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from absl import app, flags
import s3_server

ROOT = pathlib.Path(__file__).parents[2]
STORE = f's3://{s3_server.BUCKET}'
SUFFIXES = ('.mp4', '.avi', '.webm', '.mkv', '.mov')

# Lines that TensorFlow writes about itself.
_NOISE = re.compile('cuda|INFO:|builder_impl|fingerprinting|signature_serialization|mirrored')

_VIDEOS = flags.DEFINE_string('videos', None, 'Folder of videos.', required=True)
_MOST = flags.DEFINE_integer('most', 100, 'Largest number of videos, spread over the folder.')
_DAVIS = flags.DEFINE_string('davis', None, 'Folder of DAVIS-2016, in the official layout.')
_SEQUENCES = flags.DEFINE_list('sequences', [], 'Sequences of DAVIS; all by default.')
_JHMDB = flags.DEFINE_string('jhmdb', None, 'Folder of J-HMDB, in the official layout.')
_CLIPS = flags.DEFINE_list('clips', [], 'Clips of J-HMDB; all by default.')
_STEPS = flags.DEFINE_integer('steps', 30, 'Training steps.')
_BATCH_SIZE = flags.DEFINE_integer('batch_size', 2, 'Clips per training step.')


def main(_: Sequence[str]) -> None:
    """Run the chain on the store, then on the local disk."""
    with s3_server.running() as server, tempfile.TemporaryDirectory() as folder:
        local = pathlib.Path(folder)
        (local / 'videos').mkdir()
        for number, path in enumerate(chosen_videos()):
            shutil.copy(path, local / 'videos' / f'{number:04d}{path.suffix}')
        sets = {'videos': local / 'videos'}
        sets |= {name: pathlib.Path(flag.value) for name, flag in DATA_SETS.items() if flag.value}
        for name, source in sets.items():
            start = time.monotonic()
            server.upload(source, name)
            print(f'{time.monotonic() - start:7.1f} s  upload of {name}', flush=True)
        print(f'On {STORE}:')
        chain(STORE, {name: f'{STORE}/{name}' for name in sets}, server)
        print('On the local disk:')
        chain(folder, {name: str(path) for name, path in sets.items()}, None)


DATA_SETS = {'davis': _DAVIS, 'jhmdb': _JHMDB}


def chain(place: str, data: dict[str, str], server: s3_server.Server | None) -> None:
    """Prepare, train, export and evaluate.

    Args:
      place: folder or s3:// address for everything that is written.
      data: name -> path of 'videos' and of each data set.
      server: if given, training is killed while it writes a checkpoint, and resumed.
    """
    environment = {'TF_CPP_MIN_LOG_LEVEL': '2', **(server.environment if server else {})}
    run(
        'tools.prepare_clips',
        f'--input={data["videos"]}',
        f'--output={place}/shards',
        **environment,
    )
    training = [
        'stfc3_tf.train',
        '--gin_file=gin/small/stfc3.gin',
        f'--data={place}/shards',
        f'--model_dir={place}/run',
        f'--gin_bindings=train.steps = {_STEPS.value}',
        f'--gin_bindings=train.batch_size = {_BATCH_SIZE.value}',
        f'--gin_bindings=train.checkpoint_interval = {_STEPS.value // 3}',
    ]
    if server:
        server.fail('hang', 1, rf'PUT .*/step-{2 * (_STEPS.value // 3)}\..*data')
        run(*training, until=server.met, **environment)
        server.fail('', 0)
    run(*training, **environment)
    run('tools.export', f'--model_dir={place}/run', f'--output_dir={place}/export', **environment)
    model = f'--saved_model={place}/export'
    for task, given in (
        ('davis', ['--gin_bindings=Davis.year = 2016', only(_SEQUENCES.value)]),
        ('jhmdb', [only(_CLIPS.value)]),
    ):
        if task in data:
            output = f'--output_dir={place}/out/{task}'
            data_dir = f'--data_dir={data[task]}'
            run('tools.evaluate', f'--task={task}', data_dir, model, output, *given, **environment)


def only(names: Sequence[str]) -> str:
    """Return the flag that chooses sequences."""
    return f'--sequences={",".join(names)}'


def run(module: str, *arguments: str, until=lambda: False, **environment: str) -> None:
    """Run a command and print how it went; kill it once `until` is true."""
    start = time.monotonic()
    with tempfile.TemporaryFile('w+') as said:
        process = subprocess.Popen(
            [sys.executable, '-m', module, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        killed = False
        while process.poll() is None:
            time.sleep(0.05)
            if not killed and until():
                killed = True
                process.kill()
        said.seek(0)
        lines = [line.rstrip() for line in said if line.strip() and not _NOISE.search(line)]
    print(f'{time.monotonic() - start:7.1f} s  {module}, status {process.returncode}', flush=True)
    print(*(f'             {line}' for line in lines[-4:]), sep='\n', flush=True)
    if process.returncode and not killed:
        sys.exit(f'{module} failed:\n' + '\n'.join(lines[-40:]))


def chosen_videos() -> list[pathlib.Path]:
    """Return at most --most of the videos, spread over all."""
    found = sorted(p for p in pathlib.Path(_VIDEOS.value).rglob('*') if p.suffix in SUFFIXES)
    return found[:: max(1, -(-len(found) // _MOST.value))]


if __name__ == '__main__':
    app.run(main)
