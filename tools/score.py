"""Scores a training run on held-out built-in scenes, and draws its encoder at work.

    python -m tools.score --model_dir=runs/quickstart

Prints the trained encoder beside copying the first label and the same encoder untrained, and writes
features.png, affinity.png and masks.png. Needs no data.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
import tensorflow as tf

from stfc3_tf import command, pictures, scorecard, training

_MODEL_DIR = flags.DEFINE_string('model_dir', None, 'Folder of a training run.', required=True)
_OUTPUT_DIR = flags.DEFINE_string(
    'output_dir', None, 'Folder of the pictures; default: MODEL_DIR/score.'
)
_WHICH = flags.DEFINE_enum(
    'checkpoint', 'last', ['last', 'best'], 'Which of the run\'s checkpoints.'
)


def main(_: Sequence[str]) -> None:
    """Scores and draws."""
    learner, step = training.learner_of_run(_MODEL_DIR.value, _WHICH.value)
    trained, temperature = learner.encoder, learner.temperature
    untrained, _ = training.encoder_of_run(_MODEL_DIR.value, 'none')
    row, copied = scorecard.score(f'trained, step {step}', trained, temperature)
    before, _ = scorecard.score('the same encoder untrained', untrained, temperature)
    print(scorecard.table([row, copied, before]))
    folder = _OUTPUT_DIR.value or tf.io.gfile.join(_MODEL_DIR.value, 'score')
    tf.io.gfile.makedirs(folder)
    for name, picture in scorecard.draw(trained, temperature).items():
        path = tf.io.gfile.join(folder, f'{name}.png')
        pictures.write_png(path, picture)
        print(f'wrote {path}')


if __name__ == '__main__':
    command.run(main)
