"""Who the workers are, what each reads; the update does not depend on how many share a batch."""

import json
import socket
import socketserver
import subprocess
import sys
import threading

import clusters
import numpy as np
import pytest
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.clips import frame_folders
from stfc3_tf.cluster import data_service, rendezvous
from stfc3_tf.cluster import environment as cluster
from stfc3_tf.cluster import strategy as distribution
from stfc3_tf.training import input_pipeline
from stfc3_tf.views.sampler import ViewSampler

# ---------------------------------------------------------------- where the workers are


def tf_config(jobs, kind='worker', index=0):
    return {'TF_CONFIG': json.dumps({'cluster': jobs, 'task': {'type': kind, 'index': index}})}


def test_tf_config_names_workers_and_a_chief_is_the_first():
    found = cluster.find_cluster(tf_config({'worker': ['a:1', 'b:1']}, index=1), 5)
    assert found == (('a:1', 'b:1'), 1)
    with_chief = {'chief': ['c:1'], 'worker': ['a:1', 'b:1']}
    assert cluster.find_cluster(tf_config(with_chief, 'chief'), 5).index == 0
    assert cluster.find_cluster(tf_config(with_chief, 'worker', 1), 5) == (('c:1', 'a:1', 'b:1'), 2)


def test_slurm_tasks_are_numbered_node_by_node_in_the_order_of_the_list():
    found = cluster.find_cluster(
        {
            'SLURM_PROCID': '3',
            'SLURM_STEP_NODELIST': 'n[9-10],gpu-a',
            'SLURM_STEP_TASKS_PER_NODE': '2(x2),1',
        },
        port=700,
    )
    assert found.addresses == ('n9:700', 'n9:701', 'n10:700', 'n10:701', 'gpu-a:700')
    assert found.index == 3


@pytest.mark.parametrize(
    'text,hosts',
    [
        ('a', ['a']),
        ('a,b-1', ['a', 'b-1']),
        ('a[1-3]', ['a1', 'a2', 'a3']),
        ('a[08-10,12],b', ['a08', 'a09', 'a10', 'a12', 'b']),
        ('r[1-2]n[3,5]x', ['r1n3x', 'r1n5x', 'r2n3x', 'r2n5x']),
    ],
)
def test_lists_of_hosts(text, hosts):
    assert cluster.expand_hosts(text) == hosts


@pytest.mark.parametrize(
    'own', [{'JOB_COMPLETION_INDEX': '2', 'HOSTNAME': 'train-7-x8f'}, {'HOSTNAME': 'train-2'}]
)
def test_kubernetes_numbers_its_pods(own):
    environment = {'STFC3_WORKERS': '3', 'STFC3_WORKER_ADDRESS': 'train-{}.train:29400', **own}
    found = cluster.find_cluster(environment, 5)
    assert found == (tuple(f'train-{k}.train:29400' for k in range(3)), 2)


@pytest.mark.parametrize(
    'environment,message',
    [
        ({}, 'no cluster'),
        ({'TF_CONFIG': '{cluster'}, 'TF_CONFIG is not readable as JSON'),
        ({'TF_CONFIG': '{"cluster": {"worker": ["a:1"]}}'}, 'task'),
        (tf_config({'worker': ['a:1', 'b:1']}, index=2), 'this is worker 2, and there are 2'),
        (tf_config({'worker': ['a:1', 'a:1']}), 'same address'),
        (tf_config({'worker': ['a:1'], 'ps': ['b:1']}), 'names ps'),
        (tf_config({'worker': ['a:1']}, 'evaluator'), 'names evaluator'),
        (tf_config({'chief': ['a:1']}), 'this is worker 0, and its cluster lists no "worker"'),
        (tf_config({'worker': ['a:1']}, 'chief'), 'this is chief 0, .* lists no "chief"'),
        ({'SLURM_PROCID': '0'}, 'srun'),
        (
            {
                'SLURM_PROCID': '0',
                'SLURM_STEP_NODELIST': 'a[1-2]',
                'SLURM_STEP_TASKS_PER_NODE': '1',
            },
            'names 2 nodes',
        ),
        (
            tf_config({'chief': ['c:1'], 'worker': ['w:1', 'w:2']}, 'chief', 1),
            'this is chief 1, and there are 1',
        ),
        (
            tf_config({'chief': ['c:1'], 'worker': ['w:1']}, 'worker', -1),
            'this is worker -1',
        ),
        (
            tf_config({'chief': ['c:1', 'c:2'], 'worker': ['w:1']}, 'chief', 1),
            '2 chiefs',
        ),
        ({'TF_CONFIG': '[' * 100_000}, 'TF_CONFIG is nested too deeply'),
        ({'STFC3_WORKERS': 'two', 'JOB_COMPLETION_INDEX': '0'}, 'STFC3_WORKERS'),
        ({'STFC3_WORKERS': '0', 'JOB_COMPLETION_INDEX': '0'}, 'STFC3_WORKERS=0'),
        ({'STFC3_WORKERS': '2', 'HOSTNAME': 'train'}, 'JOB_COMPLETION_INDEX'),
        (
            {
                'STFC3_WORKERS': '2',
                'JOB_COMPLETION_INDEX': '0',
                'STFC3_WORKER_ADDRESS': 'train:29400',
            },
            'STFC3_WORKER_ADDRESS',
        ),
    ],
)
def test_an_environment_that_makes_no_sense_is_named(environment, message):
    with pytest.raises(errors.UserError, match=message):
        cluster.find_cluster(environment, 29400)


@pytest.mark.parametrize(
    'strategy,devices,jit_compile,message',
    [
        ('mirored', None, False, "train.strategy='mirored': choose one of default, mirrored"),
        ('mirrored', None, False, 'names 2 workers'),
        ('multi_worker', None, True, 'jit_compile'),
    ],
)
def test_a_strategy_that_does_not_fit_is_refused(strategy, devices, jit_compile, message):
    environment = tf_config({'worker': ['a:1', 'b:1']})
    with pytest.raises(errors.UserError, match=message):
        distribution.join(strategy, devices, jit_compile, {}, environment)


# ---------------------------------------------------------------- finding each other


def meet(ports, facts, seconds):
    """Return each worker's error or None; worker k has facts[k], and stays away if that is None."""
    addresses = [f'127.0.0.1:{port}' for port in ports]
    verdicts = {}

    def come(index):
        try:
            verdicts[index] = rendezvous.meet(addresses, index, facts[index], seconds)
        except errors.UserError as error:
            verdicts[index] = str(error)

    present = [k for k in range(len(ports)) if facts[k] is not None]
    threads = [threading.Thread(target=come, args=[k]) for k in present]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [verdicts[k] for k in present]


def test_workers_with_the_same_facts_begin_together():
    same = {'settings': 'a = 1\nb = 2'}
    assert meet(clusters.free_ports(3), [same] * 3, 20) == [None] * 3


def test_all_workers_hear_what_differs_on_which():
    facts = [{'settings': 'a = 1\nb = 2'}] * 2 + [{'settings': 'a = 1\nb = 3'}]
    for verdict in meet(clusters.free_ports(3), facts, 20):
        assert 'Worker 2' in verdict and 'differ in settings' in verdict
        assert 'b = 3 instead of b = 2' in verdict


def test_all_workers_hear_which_one_is_missing():
    ports = clusters.free_ports(3)
    for verdict in meet(ports, [{}, {}, None], 2):
        assert f'Worker 2 (127.0.0.1:{ports[2]}) did not reach' in verdict


def test_a_worker_without_chief_gives_up():
    (verdict,) = meet(clusters.free_ports(2), [None, {}], 1)
    assert 'did not answer worker 1' in verdict


# ---------------------------------------------------------------- what each worker reads


class Blank(clips.Source):
    """Videos of black frames."""

    def __len__(self):
        return 7

    def name(self, video):
        return f'blank {video}'

    def read(self, video, position, count, frame_rate):
        return np.zeros((count, 2, 2, 3), np.uint8)


def as_they_are(frames, seed):
    return {'views': frames[tf.newaxis], 'view_from_frame': tf.eye(3)[tf.newaxis]}


def numbers(workers, worker, devices, batch_size, start, steps):
    """Return, for each device of a worker and each step, the numbers of its clips."""
    context = tf.distribute.InputContext(workers, worker, workers * devices)
    clip_stream = input_pipeline.ClipStream(2, 8.0, 2, 3, clips.SkippedVideos())
    batches = clip_stream.batches(Blank(), as_they_are, batch_size, start, context)
    return [b['index'].tolist() for b in batches.take(steps * devices).as_numpy_iterator()]


@pytest.mark.parametrize('workers,devices', [(1, 8), (2, 4), (4, 2), (8, 1)])
@pytest.mark.parametrize('start', [0, 48, 53])
def test_workers_share_each_global_batch_without_overlap(workers, devices, start):
    shares = [numbers(workers, worker, devices, 16, start, 3) for worker in range(workers)]
    for step in range(3):
        here = [
            n for share in shares for b in share[step * devices : (step + 1) * devices] for n in b
        ]
        first = start + 16 * step
        assert sorted(here) == list(range(first, first + 16))


# ---------------------------------------------------------------- the same update


SGD = (
    'train.optimizer = @SGD',
    'SGD.learning_rate = %LEARNING_RATE',
    'LEARNING_RATE = 0.1',
    'train.steps = 2',
    'train.checkpoint_interval = 1',
)


@pytest.fixture(scope='module')
def one_process(tmp_path_factory):
    return update_of(1, 8, tmp_path_factory.mktemp('1x8') / 'run')


def update_of(workers, devices, model_dir):
    """Return the states after one and two steps, and the clips of each step."""
    seen = model_dir.parent / 'seen.txt'
    hooks = {k: {'seen': str(seen)} for k in range(workers)}
    ended = clusters.Run(model_dir, workers, devices, SGD, hooks).finish()
    assert all(status == 0 for status, _ in ended), ended
    steps = {}
    for line in seen.read_text().splitlines():
        step, *index = map(int, line.split())
        steps.setdefault(step, []).extend(index)
    states = [clusters.values_at(model_dir, step) for step in (1, 2)]
    return *states, {k: sorted(v) for k, v in steps.items()}


@pytest.mark.slow
@pytest.mark.parametrize('workers,devices', [(2, 4), (4, 2)])
def test_workers_times_devices_do_not_change_the_update(one_process, workers, devices, tmp_path):
    first, expected, clips_seen = one_process
    assert clips_seen == {0: list(range(8)), 1: list(range(8, 16))}
    _, values, also_seen = update_of(workers, devices, tmp_path / 'run')
    assert also_seen == clips_seen
    assert values.keys() == expected.keys()
    moved = [np.abs(expected[name] - first[name]).max() for name in expected if 'encoder' in name]
    assert np.median(moved) > 1e-3  # So that the tolerance is small beside a step.
    for name, value in values.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_workers_with_other_settings_are_refused_by_all(tmp_path):
    run = clusters.Run(tmp_path / 'run', 2, 1, own_bindings={1: ['train.seed = 7']})
    for status, output in run.finish():
        assert status == 1
        assert 'train.seed = 7 instead of' in output and 'Traceback' not in output
    assert not (tmp_path / 'run').exists()


SAME = """
import os, sys
from stfc3_tf import errors
from stfc3_tf.cluster import strategy

workers = strategy.join('multi_worker', ['CPU:0'], False, {})
workers.check_same('step', 7)
print('one step', flush=True)
try:
    workers.check_same('step', 7 + workers.cluster.index)
except errors.UserError as error:
    print(error, flush=True)
workers.wait_for_end()
os._exit(0)
"""


@pytest.mark.slow
def test_all_workers_hear_that_they_resume_from_other_steps():
    for output in outputs_of(SAME):
        assert output == 'one step\nThe workers do not have the same step: [7, 8].\n'


# ---------------------------------------------------------------- the end of a run


ENDING = """
import os, sys, time
import tensorflow as tf
from stfc3_tf.cluster import strategy

workers = strategy.join('multi_worker', ['CPU:0'], False, {})
here = workers.cluster.index
total = workers.total

def slow_total(numbers):
    found = total(numbers)
    if here == int(sys.argv[2]):
        time.sleep(3)
        print('has the sum at', time.time(), flush=True)
    return found

workers.total = slow_total
if here == int(sys.argv[1]):
    workers.total([0])
    os._exit(0)
workers.wait_for_end()
print('ends at', time.time(), flush=True)
os._exit(0)
"""


def ends_of(lost, slow):
    """Return the output of 2 workers that wait for the end; `slow` has the sum 3 seconds late.

    The worker `lost` ends as soon as it has the sum; -1 is none.
    """
    return outputs_of(ENDING, str(lost), str(slow))


def outputs_of(program, *arguments):
    """Return the output of a program that 2 workers run."""
    ports = clusters.free_ports(2)
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', program, *arguments],
            cwd=clusters.ROOT,
            env=clusters.environment(TF_CONFIG=clusters.tf_config(ports, k)),
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=clusters.SECONDS)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert all(process.returncode == 0 for process in processes), outputs
    return outputs


@pytest.mark.slow
@pytest.mark.parametrize('slow', [0, 1])
def test_no_worker_ends_before_all_have_received_the_last_sum(slow):
    outputs = ends_of(lost=-1, slow=slow)
    received = float(outputs[slow].split('sum at')[1].split()[0])
    assert received <= float(outputs[1 - slow].split('ends at')[1])


@pytest.mark.slow
def test_a_chief_that_is_lost_after_the_last_sum_does_no_harm():
    outputs = ends_of(lost=0, slow=1)
    assert 'ends at' in outputs[1]


# ---------------------------------------------------------------- data servers


def stream_of(pipelines, pipeline, start, servers=()):
    context = tf.distribute.InputContext(pipelines, pipeline, 2)
    source = clips.open_source(None)
    rates = (4.0, 16.0)
    clip_stream = input_pipeline.ClipStream(2, rates, 2, 3, clips.SkippedVideos(), servers)
    return clip_stream.batches(source, ViewSampler(view_size=16), 4, start, context)


@pytest.fixture(scope='module')
def servers():
    """Two data servers, each a process with a dispatcher and a worker, that end with the tests."""
    processes, addresses = [], []
    try:
        for _ in range(2):
            port = clusters.free_ports(2)[0]
            command = [
                sys.executable,
                '-m',
                'tools.data_server',
                '--host=localhost',
                '--allow_all_interfaces',
                f'--port={port}',
            ]
            processes.append(
                subprocess.Popen(
                    command,
                    cwd=clusters.ROOT,
                    env=clusters.environment(),
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            addresses.append(f'localhost:{port}')
        for process in processes:
            assert any('Serving clips' in line for line in process.stderr)
        yield addresses
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.parametrize('pipelines,pipeline,start', [(1, 0, 0), (2, 1, 21)])
def test_servers_give_the_very_stream_in_its_order(servers, pipelines, pipeline, start):
    """The same numbers, views, matrices: resumed or not, in one pipeline or the second of two."""
    here = stream_of(pipelines, pipeline, start).take(6)
    there = stream_of(pipelines, pipeline, start, servers).take(6)
    for a, b in zip(here.as_numpy_iterator(), there.as_numpy_iterator()):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.slow
def test_a_server_with_other_videos_is_refused(servers):
    source = clips.SyntheticScenes(count=8)
    clip_stream = input_pipeline.ClipStream(2, 8.0, 2, 0, clips.SkippedVideos(), servers)
    dataset = clip_stream.batches(
        source, ViewSampler(view_size=16), 2, 0, tf.distribute.InputContext()
    )
    with pytest.raises(tf.errors.OpError) as caught:
        next(iter(dataset))
    error = errors.from_tensorflow(caught.value)
    assert isinstance(error, errors.UserError)
    assert 'A data server and the run differ in number of videos (250 and 8)' in str(error)


def test_a_server_that_takes_frame_folders_at_another_rate_is_refused(tmp_path):
    ours, theirs = (frame_folders.FrameFolders([str(tmp_path)], rate) for rate in (10.0, 24.0))
    settings = data_service.settings_text(ours, frames=2, frame_rate=8.0, clips_per_video=1, seed=0)
    with pytest.raises(errors.UserError, match=r'frame rate of frame folders \(24.0 and 10.0\)'):
        data_service.Reader(theirs).read(0, settings.encode())


@pytest.mark.parametrize(
    'sent', ['', '[' * 100_000, '5', '{}', '{"frames": 2}', {'frames': 0}, {'seed': None}, {'x': 1}]
)
def test_settings_that_no_run_sends_are_one_line(sent):
    source = clips.SyntheticScenes()
    sampler = {'frames': 2, 'frame_rate': 8.0, 'clips_per_video': 1, 'seed': 0}
    if isinstance(sent, dict):
        sent = data_service.settings_text(source, **{**sampler, **sent})
    if '"x"' in sent:
        # What a newer version adds is left out.
        assert data_service.Reader(source).read(0, sent.encode())[0].shape[0] == 2
        return
    with pytest.raises(errors.UserError, match='What the run sent.*Install the same') as caught:
        data_service.Reader(source).read(0, sent.encode())
    assert '\n' not in str(caught.value)


@pytest.mark.slow
def test_the_wrong_name_of_a_reader_is_an_error_not_a_hang(servers):
    indices = tf.data.Dataset.range(4)
    dataset = data_service.read_clips(indices, 'pyfunc_none', '{}', 2).apply(
        tf.data.experimental.service.distribute('parallel_epochs', f'grpc://{servers[0]}')
    )
    with pytest.raises(tf.errors.OpError):
        next(iter(dataset))


def test_a_server_that_is_not_there_is_named_in_bounded_time():
    (port,) = clusters.free_ports(1)
    with pytest.raises(
        errors.UserError, match=f'Nothing answers at localhost:{port} .*tools.data_server'
    ):
        data_service.check_reachable([f'localhost:{port}'], seconds=1.0)
    with pytest.raises(errors.UserError, match="train.data_servers: 'reader0' is no address"):
        data_service.check_reachable(['reader0'])


ASKING = """
from stfc3_tf.cluster import data_service
from stfc3_tf.commands import command

command.run(lambda _: data_service._reader_name('grpc://ADDRESS', seconds=3.0))
"""


@pytest.mark.slow
def test_another_kind_of_server_is_named_in_bounded_time():
    with socketserver.TCPServer(('127.0.0.1', 0), socketserver.StreamRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f'127.0.0.1:{other.server_address[1]}'
        data_service.check_reachable([address])
        # TensorFlow goes on asking in a thread, so it needs a process that a command ends.
        done = subprocess.run(
            [sys.executable, '-c', ASKING.replace('ADDRESS', address)],
            cwd=clusters.ROOT,
            env=clusters.environment(),
            capture_output=True,
            text=True,
            timeout=clusters.SECONDS,
        )
        other.shutdown()
    assert done.returncode == 1
    assert f'{address} does not answer as a data server' in done.stderr.splitlines()[-1]


def test_a_server_that_comes_late_is_waited_for():
    (port,) = clusters.free_ports(1)
    opened = []
    late = threading.Timer(1.0, lambda: opened.append(socket.create_server(('127.0.0.1', port))))
    late.start()
    data_service.check_reachable([f'127.0.0.1:{port}'], seconds=30.0)
    assert len(opened) == 1
    opened[0].close()


WATCH = """
import sys, time
sys.path.insert(0, sys.argv[1])
from stfc3_tf.cluster import data_service
with data_service.watched([sys.argv[2]], seconds=1.0):
    print('watching', flush=True)
    time.sleep(120)
"""


@pytest.mark.slow
def test_a_lost_server_ends_the_run_with_a_message():
    with socket.create_server(('127.0.0.1', 0)) as listening:
        address = f'127.0.0.1:{listening.getsockname()[1]}'
        process = subprocess.Popen(
            [sys.executable, '-c', WATCH, str(clusters.ROOT), address],
            env=clusters.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == 'watching\n'
    _, output = process.communicate(timeout=100)
    assert process.returncode == 1
    assert f'data server {address} has not answered' in output
