"""The engines that run the tasks of a plan: processes of this machine, or Apache Beam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import functools

from stfc3_tf import errors, processes
from stfc3_tf.preparation import task


def on_this_machine(output: str, tasks: int, workers: int) -> Iterator[task.Done]:
    """Do the tasks of a plan.

    Args:
      output: the folder with the plan.
      tasks: number of tasks.
      workers: number of processes; 1 for this process alone.

    Yields:
      Each task when it is finished.

    Raises:
      errors.UserError: a process died, or the output cannot be written.
    """
    do = functools.partial(task.do, output)
    if workers == 1:
        yield from map(do, range(tasks))
        return
    advice = (
        'Perhaps memory ran out: then use fewer --workers or shorter --segment_seconds. Run the '
        'same command again: finished tasks stay.'
    )
    yield from processes.side_by_side(do, range(tasks), workers, advice=advice)


def on_beam(output: str, tasks: int, runner: str, options: Sequence[str]) -> None:
    """Do the tasks of a plan as an Apache Beam pipeline.

    Args:
      output: the folder with the plan. The runner's workers must reach it and the videos by the
        same paths, and need this package.
      tasks: number of tasks.
      runner: its name in Beam.
      options: of the pipeline, as Beam's own commands take them: '--name=value'.

    Raises:
      errors.UserError: Apache Beam is not installed, does not know the runner, or a task failed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise errors.UserError(
            f"--runner={runner} needs Apache Beam: pip install 'stfc3-tf[beam]' ({error})."
        ) from error
    # Beam's DirectRunner first tries to download a runner written in Go.
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
    # The report is in the output folder; the pipeline does not need it.
    task.do(output, number)
