"""Who does the tasks: processes of this machine, or Apache Beam."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence

import cv2
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.preparation import task


def on_this_machine(output: str, tasks: int, workers: int) -> Iterator[task.Done]:
    """Does the tasks of a plan, in processes of their own if `workers` is more than 1.

    Yields:
      Each task as it is finished.

    Raises:
      errors.UserError: a process died, or the output cannot be written.
    """
    do = functools.partial(task.do, output)
    if workers == 1:
        yield from map(do, range(tasks))
        return
    # Not forked: a child of a process in which TensorFlow has threads can hang.
    context = multiprocessing.get_context('spawn')
    with contextlib.ExitStack() as stack:
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker)
        stack.callback(pool.shutdown, cancel_futures=True)
        futures = [pool.submit(do, number) for number in range(tasks)]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise errors.UserError(
                'A worker process died, perhaps for want of memory (then: fewer --workers, or '
                'shorter --segment_seconds). Run the same command again: what is finished is kept.'
            ) from error


def on_beam(output: str, tasks: int, runner: str, options: Sequence[str]) -> None:
    """Does the tasks of a plan as an Apache Beam pipeline.

    Args:
      output: the folder with the plan; the runner's workers must reach it, and the videos, under the
        same paths, and have this package installed.
      tasks: how many.
      runner: Beam's name of it.
      options: of the pipeline, as Beam's own commands take them: '--name=value'.

    Raises:
      errors.UserError: Apache Beam is not installed, or does not know the runner; or a task
        raised it.
    """
    try:
        import apache_beam as beam
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise errors.UserError(
            f"--runner={runner} needs Apache Beam: pip install 'stfc3-tf[beam]' ({error})."
        ) from error
    # What Beam calls DirectRunner first tries to fetch a runner written in Go from the network.
    name = 'FnApiRunner' if runner == 'DirectRunner' else runner
    try:
        parsed = pipeline_options.PipelineOptions([f'--runner={name}', *options])
        pipeline = beam.Pipeline(options=parsed)
    except (ValueError, SystemExit) as error:
        raise errors.UserError(f'--runner={runner} {" ".join(options)}: {error}') from error
    numbers = pipeline | beam.Create(range(tasks)) | beam.Reshuffle()
    _ = numbers | 'Prepare' >> beam.Map(functools.partial(_do_and_forget, output))
    try:
        pipeline.run().wait_until_finish()
    except RuntimeError as error:
        raise errors.from_tensorflow(error) from error


def _do_and_forget(output: str, number: int) -> None:
    # The report is in the output folder; a pipeline need not carry it.
    task.do(output, number)


def _start_worker() -> None:
    """One core each, no GPU, and no life after the process that started it."""
    tf.config.set_visible_devices([], 'GPU')
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cv2.setNumThreads(1)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
