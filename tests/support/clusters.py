"""Start the workers of a run as processes on loopback; all are ended in bounded time."""

import contextlib
import itertools
import json
import os
import pathlib
import socket
import subprocess
import sys

import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 900  # The longest a run may take, on a machine busy with other work.
STEPS = 6
BINDINGS = (
    f'train.steps = {STEPS}',
    'train.batch_size = 8',
    'train.clip_frames = 2',
    'train.checkpoint_interval = 2',
    'watch.log_interval = 1',
    'train.learner = @HookedLearner',
    'train.encoder = @small_encoder',
    'small_encoder.dtype_policy = %PRECISION',
    'ViewSampler.view_size = 32',
    'ViewSampler.colours = (None, None)',
    'watch.probe_interval = 0',
    'watch.picture_interval = 0',
    'watch.held_out_score = None',
)


# Below those that systems give to outgoing connections.
_PORTS = range(20_000, 32_000, 8)
_drawn = itertools.count(37 * os.getpid())


def free_ports(count):
    """Return up to 8 ports in a row that are free, and that no outgoing connection gets."""
    while True:
        first = _PORTS[next(_drawn) % len(_PORTS)]
        ports = [*range(first, first + count)]
        if all(map(_is_free, ports)):
            return ports


def _is_free(port):
    with socket.socket() as tried:
        try:
            tried.bind(('', port))
        except OSError:
            return False
        return True


def listening(port):
    """Return the addresses, in /proc's hexadecimal form, at which a TCP port is open."""
    found = set()
    for path in ('/proc/net/tcp', '/proc/net/tcp6'):
        with contextlib.suppress(OSError), open(path) as file:
            for line in file.read().splitlines()[1:]:
                _, local, _, state = line.split()[:4]
                address, opened = local.split(':')
                if state == '0A' and int(opened, 16) == port:
                    found.add(address)
    return found


def environment(**more):
    """Return variables for a process without GPU and cluster, except those of `more`."""
    kept = {name: value for name, value in os.environ.items() if name != 'TF_CONFIG'}
    return {**kept, 'TF_CPP_MIN_LOG_LEVEL': '2', 'CUDA_VISIBLE_DEVICES': '', **more}


def tf_config(ports, index):
    """Return the TF_CONFIG of one worker."""
    cluster = {'worker': [f'127.0.0.1:{port}' for port in ports]}
    return json.dumps({'cluster': cluster, 'task': {'type': 'worker', 'index': index}})


class Run:
    """A run's processes: worker i with `hooks[i]` (see cluster_worker) and the settings `bindings`.

    One worker is a run of one machine, under MirroredStrategy.
    """

    def __init__(self, model_dir, workers, devices, bindings=(), hooks=None, own_bindings=None):
        ports = free_ports(workers)
        names = ', '.join(f"'CPU:{k}'" for k in range(devices))
        strategy = 'multi_worker' if workers > 1 else 'mirrored'
        patience = ['MultiWorker.patience_minutes = 5'] if workers > 1 else []
        shared = [
            f'train.devices = [{names}]',
            f"train.strategy = '{strategy}'",
            *patience,
            *bindings,
        ]
        self.outputs = [model_dir.parent / f'{model_dir.name}-{k}.txt' for k in range(workers)]
        self.processes = []
        for k in range(workers):
            settings = [*BINDINGS, *shared, *(own_bindings or {}).get(k, ())]
            command = [
                sys.executable,
                str(ROOT / 'tests' / 'support' / 'cluster_worker.py'),
                str(devices),
                json.dumps((hooks or {}).get(k, {})),
                f'--gin_file={ROOT}/gin/stfc3.gin',
                f'--model_dir={model_dir}',
                *(f'--gin_bindings={setting}' for setting in settings),
            ]
            more = {'TF_CONFIG': tf_config(ports, k)} if workers > 1 else {}
            with open(self.outputs[k], 'w') as file:
                self.processes.append(
                    subprocess.Popen(
                        command, cwd=ROOT, env=environment(**more), stdout=file, stderr=file
                    )
                )

    def finish(self):
        """Wait for all; return the exit status and the output of each."""
        try:
            statuses = [process.wait(SECONDS) for process in self.processes]
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
        return list(zip(statuses, (path.read_text() for path in self.outputs)))


def final_values(model_dir):
    """Return the values in the last checkpoint of a finished run, by name."""
    path = tf.train.latest_checkpoint(str(model_dir / 'checkpoints' / 'last'))
    assert path and path.endswith(f'step-{STEPS}'), path
    return values_at(model_dir, STEPS)


def values_at(model_dir, step):
    """Return the run's values in the checkpoint of a step, by name."""
    reader = tf.train.load_checkpoint(str(model_dir / 'checkpoints' / 'last' / f'step-{step}'))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if not any(other in name for other in ('save_counter', 'OBJECT_GRAPH', 'best_score'))
    }
