"""The addresses of a run's workers, from TF_CONFIG, SLURM or Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
import re
import socket
from typing import NamedTuple

from typing_extensions import TypedDict

from stfc3_tf import checks, errors, wording
from stfc3_tf.storage import state

TF_CONFIG = 'TF_CONFIG'
_ENVIRONMENTS = (
    'TF_CONFIG; or STFC3_WORKERS and STFC3_WORKER_ADDRESS with JOB_COMPLETION_INDEX or a host '
    'name that ends in a number; or SLURM_PROCID, SLURM_STEP_NODELIST and '
    'SLURM_STEP_TASKS_PER_NODE, which srun sets'
)


_TF_CONFIG_REMEDY = (
    'Give JSON such as {"cluster": {"worker": ["host0:29400", "host1:29400"]}, "task": {"type": '
    '"worker", "index": 0}}.'
)


class _Task(TypedDict):
    type: str
    index: int


class _TfConfig(TypedDict, total=False):
    cluster: dict[str, list[str]]
    task: _Task


class Cluster(NamedTuple):
    """The workers of a run.

    Attributes:
      addresses: host:port of each worker; the first is the chief's.
      index: the number of this process among them.
    """

    addresses: tuple[str, ...]
    index: int  # type: ignore[assignment]  # tuple.index is not needed


def find_cluster(environment: Mapping[str, str], port: int) -> Cluster:
    """Return where the workers are, according to the first of these that is set.

    * `TF_CONFIG`, JSON: {"cluster": {"worker": [host:port, ...]}, "task": {"type": "worker",
      "index": 0}}; a "chief" counts as the first worker.
    * Kubernetes and others: STFC3_WORKERS, how many; STFC3_WORKER_ADDRESS, the address of each with
      {} for its number, such as 'train-{}.train:29400'; and this worker's number:
      JOB_COMPLETION_INDEX (an indexed Job sets it), or the end of the host name, 'train-3' (a
      StatefulSet).
    * SLURM: the variables that srun sets for each task of a step, tasks numbered node by node
      (srun's default). Task k of a node has port `port` + k.

    Args:
      environment: the variables.
      port: of the first task of a node, for SLURM.

    Raises:
      errors.UserError: none is set, or one has a value that cannot be understood.
    """
    if environment.get(TF_CONFIG):
        cluster = from_tf_config(environment[TF_CONFIG])
        if not cluster.addresses:
            raise errors.UserError(f'{TF_CONFIG} names no workers. Set {_ENVIRONMENTS}.')
    elif 'STFC3_WORKERS' in environment:
        cluster = _from_pattern(environment)
    elif 'SLURM_PROCID' in environment:
        cluster = _from_slurm(environment, port)
    else:
        raise errors.UserError(
            "train.strategy = 'multi_worker' finds no cluster in the environment. Set "
            f'{_ENVIRONMENTS}.'
        )
    count = len(cluster.addresses)
    if not 0 <= cluster.index < count:
        raise errors.UserError(
            f'The environment says that this is worker {cluster.index}, and there are {count} '
            f'({", ".join(cluster.addresses)}), counted from 0.'
        )
    if len(set(cluster.addresses)) < count:
        raise errors.UserError(
            f'Two workers have the same address: {", ".join(cluster.addresses)}.'
        )
    return cluster


def from_tf_config(text: str) -> Cluster:
    """Return the cluster that TF_CONFIG's text describes; one without workers if it has none.

    Raises:
      errors.UserError: the text cannot be understood.
    """
    config = state.parse_json(text, _TfConfig, TF_CONFIG, _TF_CONFIG_REMEDY)
    jobs = {job: tuple(addresses) for job, addresses in config.get('cluster', {}).items()}
    if not jobs:
        return Cluster((), 0)
    if 'task' not in config:
        raise errors.UserError(f'{TF_CONFIG} does not say which task this is. {_TF_CONFIG_REMEDY}')
    kind, index = config['task']['type'], config['task']['index']
    unknown = (set(jobs) | {kind}) - {'chief', 'worker'}
    if unknown:
        raise errors.UserError(
            f'{TF_CONFIG} names {", ".join(sorted(unknown))}; only "worker" and one "chief" are '
            'possible.'
        )
    if kind not in jobs:
        raise errors.UserError(
            f'{TF_CONFIG} says that this is {kind} {index}, and its cluster lists no "{kind}". '
            f'{_TF_CONFIG_REMEDY}'
        )
    chiefs, count = jobs.get('chief', ()), len(jobs[kind])
    if len(chiefs) > 1:
        raise errors.UserError(f'{TF_CONFIG} names {len(chiefs)} chiefs; only one is possible.')
    if not 0 <= index < count:
        raise errors.UserError(
            f'{TF_CONFIG} says that this is {kind} {index}, and there are {count} of that type, '
            'counted from 0.'
        )
    return Cluster(
        chiefs + jobs.get('worker', ()), index + (len(chiefs) if kind == 'worker' else 0)
    )


def _from_pattern(environment: Mapping[str, str]) -> Cluster:
    pattern = environment.get('STFC3_WORKER_ADDRESS', '')
    own = environment.get('JOB_COMPLETION_INDEX')
    if own is None:
        number = re.search(r'-(\d+)$', environment.get('HOSTNAME') or socket.gethostname())
        own = number and number[1]
    try:
        count, index = int(environment['STFC3_WORKERS']), int(own or '')
    except ValueError as error:
        raise errors.UserError(
            'STFC3_WORKERS must be the number of workers, and JOB_COMPLETION_INDEX, or the end of '
            f'the host name, that of this one: {error}.'
        ) from error
    checks.whole_number('STFC3_WORKERS', count)
    if '{}' not in pattern or ':' not in pattern:
        raise errors.UserError(
            f"STFC3_WORKER_ADDRESS={pattern!r}: give host and port with {{}} for the worker's "
            "number, such as 'train-{}.train:29400'."
        )
    return Cluster(tuple(pattern.replace('{}', str(k)) for k in range(count)), index)


def _from_slurm(environment: Mapping[str, str], port: int) -> Cluster:
    # TensorFlow's SlurmClusterResolver sorts hosts by name, which gives wrong ranks from node10 on,
    # takes an empty CUDA_VISIBLE_DEVICES for one GPU and needs nvidia-smi on machines without GPUs.
    try:
        hosts = expand_hosts(environment['SLURM_STEP_NODELIST'])
        tasks = _expand_counts(environment['SLURM_STEP_TASKS_PER_NODE'])
        index = int(environment['SLURM_PROCID'])
    except (KeyError, ValueError) as error:
        raise errors.UserError(
            f'The environment of SLURM cannot be understood ({type(error).__name__}: {error}): '
            'start the workers with srun.'
        ) from error
    if len(tasks) != len(hosts):
        raise errors.UserError(
            f'SLURM_STEP_NODELIST names {wording.counted(len(hosts), "node")}, '
            f'SLURM_STEP_TASKS_PER_NODE {len(tasks)}.'
        )
    addresses = [f'{host}:{port + k}' for host, count in zip(hosts, tasks) for k in range(count)]
    return Cluster(tuple(addresses), index)


def expand_hosts(text: str) -> list[str]:
    """Expand a list of hosts as SLURM writes it: 'a[1-2,05],b' -> ['a1', 'a2', 'a05', 'b'].

    Raises:
      ValueError: `text` is not such a list.
    """
    hosts = []
    for part in re.findall(r'(?:[^,\[]|\[[^\]]*\])+', text):
        names = ['']
        for literal, ranges in re.findall(r'([^\[]+)|\[([^\]]*)\]', part):
            ends = [literal] if literal else _expand_ranges(ranges)
            names = [name + end for name in names for end in ends]
        hosts += names
    if not hosts or any(set(host) & set('[], ') for host in hosts):
        raise ValueError(f'{text!r} is not a list of hosts')
    return hosts


def _expand_ranges(text: str) -> list[str]:
    """Return ['1', '2', '05'] for '1-2,05'; leading zeros are kept."""
    numbers = []
    for part in text.split(','):
        first, _, last = part.partition('-')
        count = range(int(first), int(last or first) + 1)
        numbers += [str(number).zfill(len(first)) for number in count]
    return numbers


def _expand_counts(text: str) -> list[int]:
    """Return [2, 2, 2, 1] for SLURM's '2(x3),1'."""
    counts = []
    for part in text.split(','):
        found = re.fullmatch(r'(\d+)(?:\(x(\d+)\))?', part)
        if not found:
            raise ValueError(f'{text!r} is not a list of counts')
        counts += [int(found[1])] * int(found[2] or 1)
    return counts
