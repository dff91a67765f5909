"""Score a training run on held-out built-in scenes, and draw its encoder at work.

    python -m tools.score --model_dir=runs/quickstart

The command prints the scores of the trained encoder, of the same encoder untrained and of the first
label, copied, and writes features.png, affinity.png and masks.png. It needs no data.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
import tensorflow as tf

from stfc3_tf.commands import command
from stfc3_tf.figures import pictures
from stfc3_tf.training import reload, scorecard
from stfc3_tf.training.run_folder import RunFolder, reporting_writes

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder of a training run.', required=True)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder of the pictures; default: MODEL_DIR/score.'
)
_WHICH = flags.DEFINE_enum(
    'checkpoint', 'last', ['last', 'best'], "Which of the run's checkpoints."
)


def main(_arguments: Sequence[str]) -> None:
    """Score and draw."""
    run = RunFolder(_MODEL_DIR.value)
    learner, step = reload.learner_of_run(run, _WHICH.value)
    trained, temperature = learner.encoder, learner.temperature
    untrained, _ = reload.encoder_of_run(run, 'none')
    row, copied = scorecard.score(f'trained, step {step}', trained, temperature)
    before, _ = scorecard.score('the same encoder untrained', untrained, temperature)
    print(scorecard.table([row, copied, before]))
    folder = _OUTPUT_DIR.value or run.score
    for name, picture in scorecard.draw(trained, temperature).items():
        path = tf.io.gfile.join(folder, f'{name}.png')
        with reporting_writes(path):
            tf.io.gfile.makedirs(folder)
            pictures.write_png(path, picture)
        print(f'Wrote {path}')


if __name__ == '__main__':
    command.run(main)
