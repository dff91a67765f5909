"""What does not fit is not kept, and takes nothing else with it."""

import full_disk
import numpy as np

from stfc3_tf.storage import bounded_folder

SIZE = np.zeros(100, np.uint8).nbytes + 128  # With the head of NumPy's format.


def names(folder):
    return sorted(path.stem for path in folder.iterdir())


def test_what_was_used_longest_ago_makes_room(tmp_path):
    folder = bounded_folder.BoundedFolder(str(tmp_path), 3 * SIZE)
    for name in 'abc':
        folder.put(name, np.zeros(100, np.uint8))
    assert folder.get('a') is not None
    folder.put('d', np.zeros(100, np.uint8))
    assert names(tmp_path) == ['a', 'c', 'd'] and folder.get('b') is None


def test_an_array_larger_than_the_bound_leaves_the_others(tmp_path):
    folder = bounded_folder.BoundedFolder(str(tmp_path), 3 * SIZE)
    folder.put('a', np.ones(100, np.uint8))
    folder.put('large', np.zeros(10 * SIZE, np.uint8))
    assert names(tmp_path) == ['a']
    np.testing.assert_array_equal(folder.get('a'), np.ones(100, np.uint8))


def test_a_disk_that_is_full_ends_the_keeping_and_leaves_what_is_there(tmp_path, caplog):
    folder = bounded_folder.BoundedFolder(str(tmp_path), 3 * SIZE)
    folder.put('a', np.zeros(100, np.uint8))
    with full_disk.files_of_at_most(SIZE // 2):
        folder.put('b', np.zeros(100, np.uint8))
    assert 'Nothing more is kept' in caplog.text
    for name in 'cd':
        folder.put(name, np.zeros(100, np.uint8))
    assert names(tmp_path) == ['a'] and folder.get('a') is not None


def test_nothing_is_kept_where_nothing_may_be(tmp_path):
    folder = bounded_folder.BoundedFolder(str(tmp_path), 0)
    folder.put('a', np.zeros(100, np.uint8))
    assert folder.get('a') is None and not names(tmp_path)
