"""Work in several processes of this machine, which end with the one that started them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
import concurrent.futures
import multiprocessing
import os
from typing import TypeVar

import cv2
import tensorflow as tf

from stfc3_tf import errors, stopping

_Item = TypeVar('_Item')
_Result = TypeVar('_Result')


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(
    do: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int,
    *,
    threads: int = 1,
    advice: str,
) -> Iterator[_Result]:
    """Call a function on every item, in new processes without a GPU.

    When one call fails, or the caller stops, all processes are ended at once.

    Args:
      do: the function; it can be pickled, as its items and results can.
      items: what it is called on.
      workers: number of processes.
      threads: of TensorFlow in each process.
      advice: what to do where a process died, a sentence.

    Yields:
      Each result when it is there, in any order.

    Raises:
      errors.UserError: a process died. Errors of `do` are raised here, too.
    """
    # With 'fork', a child of a process in which TensorFlow has threads can hang.
    context = multiprocessing.get_context('spawn')
    others = multiprocessing.active_children()
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (threads,))
    finished = False
    try:
        with stopping.interrupts_kept_from_children():
            futures = [pool.submit(do, item) for item in items]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
        finished = True
    except concurrent.futures.process.BrokenProcessPool as error:
        raise errors.UserError(f'A worker process died. {advice}') from error
    finally:
        if not finished:
            # An error or Ctrl-C: what they do could take minutes, and will be repeated as a whole.
            for worker in set(multiprocessing.active_children()) - set(others):
                worker.kill()
        pool.shutdown(cancel_futures=True)


def _start_worker(threads: int) -> None:
    """Use some cores and no GPU, and exit when the parent process ends."""
    tf.config.set_visible_devices([], 'GPU')
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    cv2.setNumThreads(threads)
    stopping.end_with_parent()
