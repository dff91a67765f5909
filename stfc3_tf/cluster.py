"""Where the workers of a run are, as TF_CONFIG, SLURM or Kubernetes tell a process."""

from __future__ import annotations

from collections.abc import Mapping
import json
import re
import socket
from typing import NamedTuple

from stfc3_tf import errors

TF_CONFIG = 'TF_CONFIG'
_ENVIRONMENTS = (
    'TF_CONFIG; or SLURM_PROCID, SLURM_STEP_NODELIST and SLURM_STEP_TASKS_PER_NODE, which srun sets; or '
    'STFC3_WORKERS and STFC3_WORKER_ADDRESS with JOB_COMPLETION_INDEX or a host name ending in a number'
)


class Cluster(NamedTuple):
    """The workers of a run.

    Attributes:
      addresses: host:port of each worker; the first is the chief's.
      index: which of them this process is.
    """

    addresses: tuple[str, ...]
    index: int


def find_cluster(environment: Mapping[str, str], port: int) -> Cluster:
    """Reads where the workers are, from the first of these that is there.

    * `TF_CONFIG`, JSON: {"cluster": {"worker": [host:port, ...]}, "task": {"type": "worker", "index": 0}};
      a "chief" counts as the first worker.
    * SLURM: the variables srun sets for each task of a step, tasks numbered node by node (srun's default).
      Task k of a node has port `port` + k.
    * Kubernetes and alike: STFC3_WORKERS, how many; STFC3_WORKER_ADDRESS, the address of each with
      {} for its number, such as 'train-{}.train:29400'; and the own number, JOB_COMPLETION_INDEX (an
      indexed Job sets it) or the last part of the host name, 'train-3' (a StatefulSet).

    Raises:
      errors.UserError: none is there, or what is there cannot be understood.
    """
    if environment.get(TF_CONFIG):
        cluster = from_tf_config(environment[TF_CONFIG])
    elif 'STFC3_WORKERS' in environment:
        cluster = _from_pattern(environment)
    elif 'SLURM_PROCID' in environment:
        cluster = _from_slurm(environment, port)
    else:
        raise errors.UserError(
            f"train.strategy = 'multi_worker' finds no cluster in the environment. Set {_ENVIRONMENTS}."
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
    """The cluster that TF_CONFIG's text describes; one without workers if it describes none.

    Raises:
      errors.UserError: the text cannot be understood.
    """
    try:
        config = json.loads(text)
        jobs = {job: tuple(addresses) for job, addresses in config.get('cluster', {}).items()}
        if not jobs:
            return Cluster((), 0)
        task = config['task']
        kind, index = task['type'], int(task['index'])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.UserError(
            f'{TF_CONFIG} cannot be understood ({type(error).__name__}: {error}): expected JSON such as '
            '{"cluster": {"worker": ["host0:29400", "host1:29400"]}, "task": {"type": "worker", '
            f'"index": 0}}}}, found {text[:200]!r}.'
        ) from error
    unknown = set(jobs) - {'chief', 'worker'} | {kind} - set(jobs)
    if unknown:
        raise errors.UserError(
            f'{TF_CONFIG} names {", ".join(sorted(unknown))}; there may be only "worker", and one "chief".'
        )
    chiefs = jobs.get('chief', ())
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
    if '{}' not in pattern or ':' not in pattern:
        raise errors.UserError(
            f"STFC3_WORKER_ADDRESS={pattern!r}: give host and port with {{}} for the worker's number, "
            "such as 'train-{}.train:29400'."
        )
    return Cluster(tuple(pattern.replace('{}', str(k)) for k in range(count)), index)


def _from_slurm(environment: Mapping[str, str], port: int) -> Cluster:
    # TensorFlow's SlurmClusterResolver sorts hosts by name, so that ranks go astray from node10 on,
    # takes an empty CUDA_VISIBLE_DEVICES for one GPU and needs nvidia-smi on machines without GPUs.
    try:
        hosts = expand_hosts(environment['SLURM_STEP_NODELIST'])
        tasks = _expand_counts(environment['SLURM_STEP_TASKS_PER_NODE'])
        index = int(environment['SLURM_PROCID'])
    except (KeyError, ValueError) as error:
        raise errors.UserError(
            f'The environment of SLURM cannot be understood ({type(error).__name__}: {error}): start '
            'the workers with srun.'
        ) from error
    if len(tasks) != len(hosts):
        raise errors.UserError(
            f'SLURM_STEP_NODELIST names {len(hosts)} nodes, SLURM_STEP_TASKS_PER_NODE {len(tasks)}.'
        )
    addresses = [f'{host}:{port + k}' for host, count in zip(hosts, tasks) for k in range(count)]
    return Cluster(tuple(addresses), index)


def expand_hosts(text: str) -> list[str]:
    """Expands SLURM's lists of hosts: 'a[1-2,05],b' -> ['a1', 'a2', 'a05', 'b'].

    Raises:
      ValueError: `text` is no such list.
    """
    hosts = []
    for part in re.findall(r'(?:[^,\[]|\[[^\]]*\])+', text):
        names = ['']
        for literal, ranges in re.findall(r'([^\[]+)|\[([^\]]*)\]', part):
            ends = [literal] if literal else _expand_ranges(ranges)
            names = [name + end for name in names for end in ends]
        hosts += names
    if not hosts or any(set(host) & set('[], ') for host in hosts):
        raise ValueError(f'{text!r} is no list of hosts')
    return hosts


def _expand_ranges(text: str) -> list[str]:
    """'1-2,05' -> ['1', '2', '05']; leading zeros are kept."""
    numbers = []
    for part in text.split(','):
        first, _, last = part.partition('-')
        count = range(int(first), int(last or first) + 1)
        numbers += [str(number).zfill(len(first)) for number in count]
    return numbers


def _expand_counts(text: str) -> list[int]:
    """SLURM's '2(x3),1' -> [2, 2, 2, 1]."""
    counts = []
    for part in text.split(','):
        found = re.fullmatch(r'(\d+)(?:\(x(\d+)\))?', part)
        if not found:
            raise ValueError(f'{text!r} is no list of counts')
        counts += [int(found[1])] * int(found[2] or 1)
    return counts
