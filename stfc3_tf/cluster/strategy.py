"""The devices and processes of a run.

One setting, `train.strategy`, chooses: 'default' is one device, 'mirrored' every device of this
machine, 'multi_worker' the devices of several processes ("workers"), usually one on each machine.
Every worker runs the same command; worker 0, the chief, alone writes. Where the workers are is read
from the environment, see `environment.find_cluster`.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Mapping, Sequence
import contextlib
import dataclasses
import os
import re
import sys

from absl import logging
import gin
import numpy as np
import tensorflow as tf

# TensorFlow's public strategy gives each worker all of its GPUs or one CPU; `_ChosenDevices` needs
# other devices.
from tensorflow.python.distribute import collective_all_reduce_strategy

# TensorFlow has no public barrier that does not itself exchange tensors.
from tensorflow.python.eager import context

from stfc3_tf import checks, errors
from stfc3_tf.cluster import environment as cluster_lib
from stfc3_tf.cluster import rendezvous
from stfc3_tf.cluster import secret as secret_lib

STRATEGIES = ('default', 'mirrored', 'multi_worker')

_LAST_WAIT_SECONDS = 60


@gin.configurable
@dataclasses.dataclass(frozen=True)
class MultiWorker:
    """Settings of runs on several workers.

    Attributes:
      port: first port of the workers where SLURM says only on which hosts they are.
      patience_minutes: the longest wait of workers for each other, at the start and in a step.
      listen_on: numeric address of the interface on which the chief meets the others; by default
        the one that its own address names. '0.0.0.0' stands for all.
    """

    port: int = 29400
    patience_minutes: float = 10.0
    listen_on: str | None = None


class Workers:
    """The processes of a run, which may be a single one.

    Attributes:
      strategy: the distribution strategy that they share.
      cluster: where they are; None for a single process.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, cluster: cluster_lib.Cluster | None = None
    ):
        self.strategy = strategy
        self.cluster = cluster

    @property
    def is_chief(self) -> bool:
        """Whether this is the worker that writes."""
        return self.cluster is None or self.cluster.index == 0

    def total(self, numbers: Sequence[int]) -> np.ndarray:
        """Return the sums of numbers over the workers, int64 of the same shape.

        Every worker must call it; all wait for each other.
        """
        if self.cluster is None:
            return np.asarray(numbers, np.int64)
        here = tf.identity(tf.constant(numbers, tf.int64))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, here, axis=None).numpy()

    def gather(self, number: int) -> list[int]:
        """Return one number of every worker, in their order.

        Every worker must call it; all wait for each other.
        """
        if self.cluster is None:
            return [number]
        row = np.zeros(len(self.cluster.addresses), np.int64)
        row[self.cluster.index] = number
        return self.total(row.tolist()).tolist()

    def wait_for_end(self) -> None:
        """Return once every worker has called it, after which each may end its process.

        Raises:
          tf.errors.OpError: a worker was lost before it called this.
        """
        if self.cluster is None:
            return
        self.total([0])
        # A worker that ends now could take with it a part of the sum that another has not received.
        # All have done their work, so it does not matter if one is lost here.
        with contextlib.suppress(tf.errors.OpError):
            context.context().wait_at_barrier('end', 1000 * _LAST_WAIT_SECONDS)

    def check_same(self, name: str, number: int) -> None:
        """Check that a number is the same on all workers, each of which must call it.

        Raises:
          errors.UserError: it is not.
        """
        numbers = self.gather(number)
        if len(set(numbers)) > 1:
            raise errors.UserError(f'The workers do not have the same {name}: {numbers}.')

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Convert TensorFlow's errors in the block to errors for the user, see `explain`."""
        try:
            yield
        except tf.errors.OpError as error:
            raise self.explain(error) from error

    def explain(self, error: tf.errors.OpError) -> Exception:
        """Return an error that names the lost worker, if that is why TensorFlow failed.

        The process then exits with status 1.

        Returns:
          A `UserError`; or `error` itself, in a run of one process or if it has another cause.
        """
        for_user = errors.from_tensorflow(error)
        if self.cluster is None or isinstance(for_user, errors.UserError):
            return for_user
        if not isinstance(error, _LOST):
            return error
        # TensorFlow's own exit would wait for the chief forever, if it is the chief that was lost.
        atexit.register(_leave)
        lost = re.findall(r'Error reported from /job:worker(?:/replica:0)?/task:(\d+)', str(error))
        who = (
            f'Worker {lost[0]} ({self.cluster.addresses[int(lost[0])]})'
            if lost
            else 'Another worker'
        )
        return errors.UserError(
            f'{who} was lost, or did not answer in time; its own output may say why. This worker, '
            f'{self.cluster.index}, ends too. Start every worker again with the same command: the '
            f'run continues from its last checkpoint. TensorFlow says: {errors.first_line(error)}'
        )


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


# What collectives raise when a worker is gone, has started again, or does not answer.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
)


def join(
    strategy: str,
    devices: Sequence[str] | None,
    jit_compile: bool,
    facts: Mapping[str, str],
    environment: Mapping[str, str] = os.environ,
) -> Workers:
    """Make the strategy; among several workers, wait until all of them are there.

    Call it before TensorFlow computes anything: a cluster cannot be joined later.

    Args:
      strategy: one of `STRATEGIES`.
      devices: device names of this machine; None for every GPU, or the CPU.
      jit_compile: whether the step is to be compiled with XLA, which runs on one device.
      facts: what must be the same on all workers, by name.
      environment: variables that say where the cluster is.

    Returns:
      The workers with their strategy.

    Raises:
      errors.UserError: a setting or the environment does not fit, or a worker does not come or
        has other facts.
    """
    checks.one_of('train.strategy', strategy, STRATEGIES)
    if strategy == 'multi_worker':
        _check_one_device(jit_compile, 'several workers')
        return _join_workers(devices, facts, environment)
    _check_alone(strategy, environment)
    _check_devices(devices)
    if strategy == 'default':
        if devices is None:
            return Workers(tf.distribute.get_strategy())
        if len(devices) != 1:
            raise errors.UserError("train.strategy = 'default' takes one of train.devices.")
        return Workers(tf.distribute.OneDeviceStrategy(devices[0]))
    mirrored = tf.distribute.MirroredStrategy(devices)
    if not jit_compile:
        return Workers(mirrored)
    if mirrored.num_replicas_in_sync > 1:
        _check_one_device(True, str(mirrored.num_replicas_in_sync))
    return Workers(tf.distribute.OneDeviceStrategy(mirrored.extended.worker_devices[0]))


def _check_one_device(jit_compile: bool, there_are: str) -> None:
    if jit_compile:
        raise errors.UserError(
            f'train.jit_compile = True works on one device, and there are {there_are}: set '
            'train.devices to one of them, or train.jit_compile = False.'
        )


def _check_alone(strategy: str, environment: Mapping[str, str]) -> None:
    """Refuse to let each worker of a cluster train alone, all into the same folder."""
    if environment.get(cluster_lib.TF_CONFIG):
        count = len(cluster_lib.from_tf_config(environment[cluster_lib.TF_CONFIG]).addresses)
        if count > 1:
            raise errors.UserError(
                f'{cluster_lib.TF_CONFIG} names {count} workers, and train.strategy = {strategy!r} '
                "would let each train alone: set train.strategy = 'multi_worker', or unset "
                f'{cluster_lib.TF_CONFIG}.'
            )


def _check_devices(devices: Sequence[str] | None) -> None:
    if devices is None:
        return
    known = {device.name.rpartition('device:')[2] for device in tf.config.list_logical_devices()}
    unknown = [device for device in devices if _plain(device) not in known]
    if unknown:
        raise errors.UserError(
            f'train.devices names {", ".join(unknown)}; there are {", ".join(sorted(known))}.'
        )


def _plain(device: str) -> str:
    """Return 'GPU:0' for '/device:GPU:0' and 'gpu:0'."""
    return device.replace('/device:', '').lstrip('/').upper()


def _join_workers(
    devices: Sequence[str] | None, facts: Mapping[str, str], environment: Mapping[str, str]
) -> Workers:
    settings = MultiWorker()
    checks.between('MultiWorker.patience_minutes', settings.patience_minutes, 0.001, 100_000)
    checks.whole_number('MultiWorker.port', settings.port, most=65_535)
    cluster = cluster_lib.find_cluster(environment, settings.port)
    seconds = 60 * settings.patience_minutes
    # TensorFlow logs every collective operation.
    tf.get_logger().setLevel('WARNING')
    secret = secret_lib.find(environment)
    rendezvous.meet(cluster.addresses, cluster.index, facts, seconds, secret, settings.listen_on)
    logging.warning(
        'TensorFlow now listens on all interfaces of this machine for %s, without a password: keep '
        'the port inside a private network.',
        cluster.addresses[cluster.index],
    )
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=seconds)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({'worker': list(cluster.addresses)}),
        task_type='worker',
        task_id=cluster.index,
        num_accelerators={'GPU': len(tf.config.list_physical_devices('GPU'))},
        rpc_layer='grpc',
    )
    try:
        # TensorFlow waits here in C code, which Python signals do not interrupt.
        with rendezvous.limit(seconds):
            strategy = _worker_strategy(resolver, options, devices)
    except (tf.errors.OpError, RuntimeError) as error:
        raise errors.UserError(
            f'Worker {cluster.index} cannot join its cluster as '
            f'{cluster.addresses[cluster.index]}: {error}'
        ) from error
    workers = Workers(strategy, cluster)
    _check_devices(devices)
    with workers.explaining():
        count = len(strategy.extended.worker_devices)
        workers.check_same('number of devices (name equally many in train.devices)', count)
    return workers


def _worker_strategy(
    resolver: tf.distribute.cluster_resolver.ClusterResolver,
    options: tf.distribute.experimental.CommunicationOptions,
    devices: Sequence[str] | None,
) -> tf.distribute.Strategy:
    if devices is None:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    return _ChosenDevices(resolver, options, [_plain(device) for device in devices])


class _ChosenDevices(tf.distribute.MultiWorkerMirroredStrategy):
    """MultiWorkerMirroredStrategy on some of each worker's devices."""

    def __init__(self, resolver, options, devices: Sequence[str]):
        class Extended(collective_all_reduce_strategy.CollectiveAllReduceExtended):
            def _initialize_local_devices(self, cluster_resolver, worker_device):
                names = tuple(f'{worker_device}/device:{device}' for device in devices)
                return names, devices[0].split(':')[0]

        tf.distribute.Strategy.__init__(self, Extended(self, resolver, options))


def statistics_kept_locally() -> contextlib.AbstractContextManager:
    """Return a scope whose averaged variables are read from the first replica alone.

    Keras averages some variables over replicas when they are read, for which every worker has to
    take part. The moving statistics of synchronised norms are the same on all replicas. Read
    locally, one worker can save or export the model while the others do something else.
    """

    def create(next_creator, **settings):
        """Create a variable; what Keras would average is read from the first replica."""
        averaged = (
            settings.get('synchronization') == tf.VariableSynchronization.ON_READ
            and settings.get('aggregation') == tf.VariableAggregation.MEAN
        )
        if averaged:
            settings['aggregation'] = tf.VariableAggregation.ONLY_FIRST_REPLICA
        return next_creator(**settings)

    return tf.variable_creator_scope(create)
