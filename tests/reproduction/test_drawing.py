"""What is drawn, and under which names."""

from small_reproduction import (
    python_part,
)

from stfc3_tf.reproduction import drawing


def test_affinities_of_a_size_at_several_temperatures_have_names_of_their_own():
    names = drawing.affinity_names([(48, 0.05), (64, 0.05), (64, 0.07)])
    assert names == {
        (48, 0.05): 'affinity_48.png',
        (64, 0.05): 'affinity_64_temperature_0.05.png',
        (64, 0.07): 'affinity_64_temperature_0.07.png',
    }


def test_without_encoders_nothing_is_drawn(tmp_path):
    drawing.draw([], {}, None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_rows_are_drawn_by_their_first_seeds_in_the_order_of_the_plan(tmp_path):
    order = [('fc3', 0), ('stfc3', 0), ('ablation', 2), ('fc3', 1), ('stfc3', 1)]
    runs = [python_part(tmp_path, f'{row}-{seed}', '', row=row, seed=seed) for row, seed in order]
    assert list(drawing.first_seeds(runs).items()) == [
        ('fc3', str(tmp_path / 'fc3-0/train')),
        ('stfc3', str(tmp_path / 'stfc3-0/train')),
        ('ablation', str(tmp_path / 'ablation-2/train')),
    ]
