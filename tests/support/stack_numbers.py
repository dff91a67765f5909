"""Numbers that must not depend on the version of TensorFlow, and what a version leaves behind.

    python tests/support/stack_numbers.py FOLDER

writes FOLDER/numbers.npz, FOLDER/saved_model.tar.gz and FOLDER/run.tar.gz with the version that is
installed: tests/golden/stacks holds those of both stacks.
"""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

import numpy as np
import small_encoders
import tiny_learners

from stfc3_tf.annotation import propagate
from stfc3_tf.benchmarks.metrics import masks as mask_metrics
from stfc3_tf.clips import synthetic
from stfc3_tf.serving import export, loading

ROOT = pathlib.Path(__file__).parents[2]
FRAMES = small_encoders.random_frames(2, 45, 51)
RUN_SETTINGS = [
    'train.batch_size = 1',
    'train.checkpoint_interval = 3',
    'train.keep_checkpoints = 1',
    'resnet18.width = 4',
    'resnet18.head_widths = (8, 6)',
    'ViewSampler.view_size = 48',
    'watch.held_out_score = None',
    'watch.picture_interval = 0',
]


def encoder():
    """Return an encoder with the golden weights' statistics, the same on every stack."""
    model = small_encoders.make_encoder()
    draw = np.random.default_rng(2)
    for variable in model.weights:
        positive = 'variance' in variable.name or 'gamma' in variable.name
        low, high = (0.5, 1.5) if positive else (-0.2, 0.2)
        variable.assign(draw.uniform(low, high, variable.shape).astype(np.float32))
    return model


def learning():
    """Return the loss and the gradients of a learner.

    They are those of one step: a change of this tiny encoder's weights in the last bit changes the
    loss of the third step by a percent.
    """
    learner = tiny_learners.tiny_learner(edge_dropout=0.1)
    draw = np.random.default_rng(4)
    for variable in learner.encoder.trainable_variables:
        variable.assign_add(draw.normal(size=variable.shape).astype(np.float32) * 0.01)
    before = [variable.numpy() for variable in learner.encoder.trainable_variables]
    loss = float(learner.train_step(tiny_learners.batch_of(2))['loss'])
    pairs = zip(before, learner.encoder.trainable_variables)
    gradients = [np.ravel(old - new.numpy()) / 0.1 for old, new in pairs]
    return {
        'loss': np.array(loss),
        'gradients': np.concatenate([gradient[:50] for gradient in gradients]),
    }


def propagation(model):
    """Return masks, points and scores of a built-in scene."""
    scene = synthetic.scene(1, 64, 96)
    frames = np.stack([scene.frame(t / 8) for t in range(5)])
    masks = propagate.propagate_masks(model, frames, scene.masks(0.0), short_side=64)
    labels = [label.mask for label in masks]
    points = np.array([[20.0, 30.0], [70.5, 12.0], [48.0, 40.0]])
    followed = propagate.propagate_points(model, frames, points, short_side=64)
    tracks = [label.points for label in followed]
    truth = scene.masks(4 / 8) > 0
    region = mask_metrics.region_similarity(truth, labels[-1] > 0)
    boundary = mask_metrics.boundary_accuracy(truth, labels[-1] > 0)
    return {
        'masks': np.stack(labels).astype(np.uint8),
        'points': np.stack(tracks),
        'scores': np.array([region, boundary]),
    }


def numbers(folder):
    """Return name -> array, of an export in `folder` made here, and of a learner."""
    model = encoder()
    export.export(model, str(folder))
    loaded = loading.load(str(folder))
    return {
        'features': np.asarray(loaded.features(FRAMES)),
        **learning(),
        **propagation(loaded),
    }


def train(folder, steps, *arguments):
    """Train, or go on with, a small run."""
    bindings = [*RUN_SETTINGS, f'train.steps = {steps}', f'STEPS = {steps}']
    subprocess.run(
        [
            *[sys.executable, '-m', 'stfc3_tf.train', '--gin_file=gin/small/stfc3.gin'],
            *[f'--gin_bindings={binding}' for binding in bindings],
            f'--model_dir={folder}',
            *arguments,
        ],
        cwd=ROOT,
        check=True,
    )


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        np.savez_compressed(folder / 'numbers.npz', **numbers(work / 'saved_model'))
        train(work / 'run', 3)
        shutil.rmtree(work / 'run' / 'saved_model')
        for name in ('saved_model', 'run'):
            with tarfile.open(folder / f'{name}.tar.gz', 'w:gz') as archive:
                archive.add(work / name, name)


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
