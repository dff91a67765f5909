"""The learning rate's schedule and the length of the run must fit together."""

import pytest
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.training import learning_rate

SCHEDULES = tf.keras.optimizers.schedules


def warnings_of(caplog, schedule, steps):
    caplog.clear()
    learning_rate.check(tf.keras.optimizers.SGD(schedule), steps)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize('precision', ['float32', 'float16'])
def test_a_learning_rate_must_last_as_long_as_the_run(precision):
    optimizer = tf.keras.optimizers.Adam(SCHEDULES.CosineDecay(1e-3, decay_steps=10))
    if precision == 'float16':
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    learning_rate.check(optimizer, 10)
    with pytest.raises(errors.UserError, match='rate of step 12, the last, is 0'):
        learning_rate.check(optimizer, 12)
    learning_rate.check(tf.keras.optimizers.SGD(0.5), 10**9)


def test_a_run_that_ends_before_the_decay_is_warned_of(caplog):
    caplog.set_level('WARNING', logger='absl')
    (message,) = warnings_of(caplog, SCHEDULES.CosineDecay(2e-3, decay_steps=1_600), 20)
    assert 'at step 20, the last, the rate is 0.002, 100 % of the highest' in message
    assert 'would lower it to 0' in message and 'STEPS' in message and 'train.steps' in message
    steps = SCHEDULES.PiecewiseConstantDecay([100], [0.5, 0.05])
    (message,) = warnings_of(caplog, steps, 50)
    assert 'would lower it to 0.05' in message


def test_a_run_that_ends_on_a_low_rate_is_not(caplog):
    caplog.set_level('WARNING', logger='absl')
    assert not warnings_of(caplog, SCHEDULES.CosineDecay(2e-3, decay_steps=1_600), 1_600)
    assert not warnings_of(caplog, SCHEDULES.CosineDecay(2e-3, decay_steps=1_600), 1_200)
    assert not warnings_of(caplog, SCHEDULES.PiecewiseConstantDecay([100], [0.5, 0.05]), 150)
    assert not warnings_of(caplog, 0.5, 20)


def test_a_schedule_that_keras_does_not_know_is_left_unchecked():
    class Falling(SCHEDULES.LearningRateSchedule):
        def __call__(self, step):
            return 1.0 / (1.0 + tf.cast(step, tf.float32))

        def get_config(self):
            return {}

    optimizer = tf.keras.optimizers.SGD(Falling())
    with pytest.raises(TypeError):
        SCHEDULES.deserialize(learning_rate.configured(optimizer))(9)
    learning_rate.check(optimizer, 10)
