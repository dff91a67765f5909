"""Exported encoders give the encoder's numbers with nothing but TensorFlow installed."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from served_versions import versions
from small_encoders import make_encoder, random_frames
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model import resnet
from stfc3_tf.propagation import propagator
from stfc3_tf.serving import description, loading, network, saved_model

SETTINGS = propagator.PropagationSettings(radius=2.0, top_k=3, temperature=0.1)


def expected_features(model, frames, layer):
    normalised = (frames / 255 - [0.4914, 0.4822, 0.4465]) / [0.2023, 0.1994, 0.2010]
    maps = model(normalised.astype(np.float32), training=False)[layer].numpy()
    return maps / np.sqrt((maps**2).sum(-1, keepdims=True))


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    model = make_encoder()
    path = str(tmp_path_factory.mktemp('serving') / 'saved_model')
    saved_model.export(model, path, metadata={'step': 7, 'config': 'a = 1'}, settings=SETTINGS)
    return model, path


PROGRAM = """
import json, sys
absent = ['stfc3_tf', 'tensorflow_addons', 'tensorflow_io', 'keras_cv']
sys.modules.update(dict.fromkeys(absent))
import numpy as np
import tensorflow as tf
path, inputs, outputs = sys.argv[1:]
module = tf.saved_model.load(path)
arrays = dict(np.load(inputs))
frames = arrays.pop('frames')
features = module.signatures['features'](frames=tf.constant(frames))['features']
images = tf.stack([tf.io.encode_png(frame) for frame in frames])
encoded = module.signatures['features_encoded'](images=images)
found = [np.frombuffer(text, '<f4') for text in encoded['features_bytes'].numpy()]
np.testing.assert_array_equal(np.reshape(found, features.shape), features)
labels = module.signatures['propagate'](**{k: tf.constant(v) for k, v in arrays.items()})['labels']
described = module.signatures['describe'](ask=tf.constant([False, True]))['metadata'].numpy()
assert described.tolist() == [module.metadata().numpy()] * 2
np.savez(outputs, features=features, labels=labels, metadata=described[1].decode())
"""


@pytest.mark.slow
def test_reloads_with_tensorflow_alone(exported, tmp_path):
    model, path = exported
    frames = random_frames(3, 45, 70)
    features = expected_features(model, frames, 'stage3')
    labels = np.random.default_rng(0).random((2, 6, 9, 4)).astype(np.float32)
    inputs = {
        'query': features[2],
        'context_features': features[:2],
        'context_labels': labels,
        'unrestricted': np.array([True, False]),
    }
    np.savez(tmp_path / 'in.npz', frames=frames, **inputs)
    command = [sys.executable, '-I', '-c', PROGRAM, path, tmp_path / 'in.npz', tmp_path / 'out.npz']
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / 'out.npz')
    assert found['features'].dtype == np.float32 and found['features'].shape == (3, 6, 9, 16)
    np.testing.assert_allclose(found['features'], features, atol=2e-6)
    expected = propagator.propagate(*map(tf.constant, inputs.values()), SETTINGS)
    np.testing.assert_allclose(found['labels'], expected, atol=1e-5)
    assert json.loads(str(found['metadata']))['step'] == 7


@pytest.mark.parametrize('size', [(64, 64), (57, 41), (9, 100)])
def test_any_size_and_a_batch_as_its_frames_one_by_one(exported, size):
    model, path = exported
    loaded = saved_model.load(path)
    frames = random_frames(2, *size)
    features = loaded.features(frames)
    assert features.shape == (2, -(-size[0] // 8), -(-size[1] // 8), 16)
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, atol=1e-5)
    for frame, expected in zip(frames, features):
        np.testing.assert_allclose(loaded.features(frame[np.newaxis])[0], expected, atol=2e-6)
    np.testing.assert_allclose(features, expected_features(model, frames, 'stage3'), atol=2e-6)


def test_metadata_beside_and_inside_the_model(exported):
    model, path = exported
    beside = json.loads((pathlib.Path(path) / description.METADATA_FILE).read_text())
    loaded = saved_model.load(path)
    assert loaded.metadata == beside
    assert beside['step'] == 7 and beside['config'] == 'a = 1'
    assert beside['layer'] == 'stage3' and beside['channels'] == 16 and beside['stride'] == 8
    assert beside['statistics']['mean'] == [0.4914, 0.4822, 0.4465]
    assert beside['propagate']['radius'] == 2.0
    assert beside['versions']['tensorflow'] == tf.__version__
    assert loaded.cell_grid == model.cell_grid['stage3']


@pytest.mark.parametrize('name', ['model [1]', 'model*', 'mo\\del'])
def test_names_of_folders_are_no_patterns(exported, tmp_path, name):
    shutil.copytree(exported[1], tmp_path / name)
    frames = random_frames(1, 40, 48)
    found = saved_model.load(str(tmp_path / name)).features(frames)
    np.testing.assert_array_equal(found, saved_model.load(exported[1]).features(frames))


@pytest.mark.slow
@pytest.mark.parametrize('layer', ['stage4', 'head'])
def test_other_layers_without_padding_in_mixed_precision(layer, tmp_path):
    model = make_encoder(padding='none', dtype_policy='mixed_bfloat16')
    exact = make_encoder(padding='none')
    exact.set_weights(model.get_weights())
    saved_model.export(model, str(tmp_path / 'model'), layer=layer)
    loaded = saved_model.load(str(tmp_path / 'model'))
    frames = random_frames(1, 240, 250)
    expected = expected_features(exact, frames, layer)
    np.testing.assert_allclose(loaded.features(frames), expected, atol=5e-6)
    assert loaded.cell_grid == model.cell_grid[layer] == resnet.CellGrid(113, 8)


def test_only_the_layers_needed_are_written(exported):
    model, path = exported
    variables = tf.train.list_variables(f'{path}/variables/variables')
    # Keys of the object graph and the like are strings without a shape.
    count = sum(np.prod(shape) for _, shape in variables if shape)
    needed = tf.keras.Model(model.input, model.output['stage3'])
    assert count == needed.count_params() < model.count_params() / 2


@pytest.mark.slow
def test_replaces_an_older_export_and_nothing_else(tmp_path):
    path = tmp_path / 'model'
    first, second = make_encoder(), make_encoder(padding='zero')
    saved_model.export(first, str(path), metadata={'step': 1})
    saved_model.export(second, f'{path}/', metadata={'step': 2})
    assert saved_model.load(str(path)).metadata['step'] == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ['model']
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'thesis.tex').write_text('x')
    with pytest.raises(errors.UserError, match='it is not replaced.*--overwrite'):
        saved_model.export(first, str(mine))
    assert [entry.name for entry in mine.iterdir()] == ['thesis.tex']


@pytest.mark.slow
def test_an_interrupted_export_leaves_the_older_one(tmp_path, monkeypatch):
    path = tmp_path / 'model'
    model = make_encoder()
    saved_model.export(model, str(path), metadata={'step': 1})

    def full_disk(*args, **kwargs):
        raise tf.errors.ResourceExhaustedError(None, None, 'disk full')

    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, 'GFile', full_disk)
        with pytest.raises(errors.UserError, match='disk full'):
            saved_model.export(model, str(path), metadata={'step': 2})
    assert saved_model.load(str(path)).metadata['step'] == 1
    saved_model.export(model, str(path), metadata={'step': 3})
    assert [entry.name for entry in tmp_path.iterdir()] == ['model']


@pytest.mark.slow
def test_a_server_does_not_see_an_unfinished_version(exported, tmp_path, monkeypatch):
    model, _ = exported
    seen, save = [], tf.saved_model.save

    def watched_save(module, path, signatures):
        save(module, path, signatures)
        seen.append((sorted(versions(tmp_path)), os.listdir(tmp_path)))

    (tmp_path / '1').mkdir()
    (tmp_path / '1' / 'saved_model.pb').touch()
    monkeypatch.setattr(tf.saved_model, 'save', watched_save)
    saved_model.export(model, str(tmp_path / '2'))
    ((found, names),) = seen
    assert found == [1] and len(names) == 2  # The unfinished one is beside it.
    assert sorted(versions(tmp_path)) == [1, 2]
    assert sorted(os.listdir(tmp_path)) == ['1', '2']


def test_wrong_frames_are_refused(exported):
    loaded = saved_model.load(exported[1])
    with pytest.raises(errors.UserError, match=r'must be uint8 .* not float32 \[1, 32, 32, 3\]'):
        loaded.features(np.zeros((1, 32, 32, 3), np.float32))
    with pytest.raises(errors.UserError, match=r'not uint8 \[32, 32, 3\]'):
        loaded.features(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(errors.UserError, match=r'9 pixels or more.*\[1 32 8\].*\[1 9 9\]$'):
        loaded.features(np.zeros((1, 32, 8, 3), np.uint8))


@pytest.mark.parametrize(
    'change,problem',
    [
        ({'query': np.ones((3, 2, 16), 'f4')}, 'context_features must have the rows and columns'),
        ({'unrestricted': np.ones(1, bool)}, 'unrestricted must have one value per'),
        (
            {'query': np.ones((2, 2, 3), 'f4')},
            r'propagate: Shape of tensor query \[2,2,3\] .* \[\?,\?,16\]\.$',
        ),
    ],
)
def test_arguments_of_propagate_must_fit_together(exported, change, problem):
    maps = np.ones((2, 2, 2, 16), np.float32)
    given = {
        'query': maps[0],
        'context_features': maps,
        'context_labels': maps[..., :3],
        'unrestricted': np.ones(2, bool),
        **change,
    }
    with pytest.raises(errors.UserError, match=problem):
        saved_model.load(exported[1]).propagate(*given.values())


def test_least_sides():
    """9 pixels give a padded stride-8 map a second cell; without padding a cell sees 227."""
    assert network.least_side(resnet.CellGrid(0, 8)) == 9
    assert network.least_side(resnet.CellGrid(113, 8)) == 227
    model = make_encoder(padding='none')
    assert model(np.zeros((1, 227, 227, 3), 'f4'))['stage4'].shape[1:3] == (1, 1)
    with pytest.raises((ValueError, tf.errors.OpError)):
        model(np.zeros((1, 226, 227, 3), 'f4'))


def test_folders_without_an_encoder_are_refused(tmp_path):
    with pytest.raises(errors.UserError, match='holds no SavedModel'):
        saved_model.load(str(tmp_path))
    module = tf.Module()
    module.other = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec([], tf.float32)])
    path = str(tmp_path / 'other')
    tf.saved_model.save(module, path, signatures={'other': module.other})
    with pytest.raises(errors.UserError, match='no signature `features`, only: other'):
        saved_model.load(path)
    with pytest.raises(errors.UserError, match="layer = 'stage5'"):
        saved_model.export(make_encoder(), str(tmp_path / 'model'), layer='stage5')
    cut = resnet.resnet18(width=2, stage_strides=(1, 2, 1), head_widths=(4, 2))
    with pytest.raises(errors.UserError, match='choose one of stage3, head'):
        saved_model.export(cut, str(tmp_path / 'model'), layer='stage4')


def save_foreign(path, function, name='frames'):
    module = tf.Module()
    spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name)
    module.features = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures={'features': module.features})


def every_fourth_pixel(frames):
    return {'features': tf.math.l2_normalize(tf.cast(frames, tf.float32)[:, ::4, ::4], axis=-1)}


def test_the_stride_of_a_model_made_elsewhere_is_measured(tmp_path, caplog):
    path = tmp_path / 'foreign'
    save_foreign(path, every_fourth_pixel)
    assert saved_model.load(str(path)).cell_grid == resnet.CellGrid(0, 4)
    assert 'does not state the positions of its feature cells' in caplog.text
    caplog.clear()
    (path / 'assets.extra').mkdir()
    (path / description.METADATA_FILE).write_text('{"cell_grid": {"first": 1.5, "stride": 4}}')
    loaded = saved_model.load(str(path))
    assert loaded.cell_grid == resnet.CellGrid(1.5, 4) and not caplog.text
    assert loaded.features(random_frames(1, 8, 8)).shape == (1, 2, 2, 3)
    with pytest.raises(errors.UserError, match='no signature `propagate`'):
        loaded.propagate(*[None] * 4)


@pytest.mark.parametrize('rows, columns', [(64, 32), (0, 0), (3, 3), (512, 512)])
def test_a_model_made_elsewhere_whose_stride_is_no_whole_number(tmp_path, rows, columns):
    save_foreign(tmp_path / 'a', lambda frames: {'features': tf.zeros([1, rows, columns, 3])})
    shape = rf'256x256 pixels give features of shape \[1, {rows}, {columns}, 3\]'
    with pytest.raises(errors.UserError, match=f'{shape}.*give "cell_grid"'):
        saved_model.load(str(tmp_path / 'a'))


def test_features_of_a_model_made_elsewhere_are_given_unit_length(tmp_path):
    save_foreign(
        tmp_path / 'raw', lambda frames: {'features': tf.cast(frames, tf.float32)[:, ::4, ::4]}
    )
    frames = random_frames(1, 8, 8)
    picked = frames[:, ::4, ::4].astype(np.float64)
    expected = picked / np.linalg.norm(picked, axis=-1, keepdims=True)
    found = saved_model.load(str(tmp_path / 'raw')).features(frames)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    'metadata, problem',
    [
        ('[]', 'stfc3.json is damaged'),
        ('{"cell_grid": 8}', 'must have "cell_grid".*not 8'),
        ('{"cell_grid": {"first": 0}}', 'must have "cell_grid"'),
        ('{"cell_grid": {"first": "x", "stride": 8}}', 'must have "cell_grid"'),
        ('{"cell_grid": {"first": NaN, "stride": 8}}', 'must have "cell_grid"'),
        ('{"cell_grid": {"first": 0, "stride": 0}}', 'must have "cell_grid"'),
        ('{"cell_grid": {"first": 0, "stride": 7.5}}', 'must have "cell_grid"'),
    ],
)
def test_a_cell_grid_that_means_nothing_is_refused(tmp_path, metadata, problem):
    save_foreign(tmp_path / 'foreign', every_fourth_pixel)
    (tmp_path / 'foreign' / 'assets.extra').mkdir()
    (tmp_path / 'foreign' / description.METADATA_FILE).write_text(metadata)
    with pytest.raises(errors.UserError, match=problem):
        saved_model.load(str(tmp_path / 'foreign'))


def without_margin(frames):
    return {'features': tf.cast(frames, tf.float32)[:, 3:-3:4, 3:-3:4]}


@pytest.mark.parametrize(
    'function,name,problem',
    [
        (without_margin, 'frames', r'\[1, 63, 63, 3\], which is not a whole number'),
        (every_fourth_pixel, 'images', r'maps images uint8 \(None, None, None, 3\) to features'),
        (lambda frames: {'maps': frames}, 'frames', 'to maps uint8 .* not frames uint8'),
        (lambda frames: {'features': frames[1]}, 'frames', 'fails on a blank frame of 256x256'),
    ],
)
def test_signatures_that_do_not_give_features_are_refused(tmp_path, function, name, problem):
    path = tmp_path / 'foreign'
    save_foreign(path, function, name)
    with pytest.raises(errors.UserError, match=f'foreign.*{problem}') as raised:
        saved_model.load(str(path))
    assert '\n' not in str(raised.value)


def test_metadata_do_not_hide_a_wrong_signature(tmp_path):
    save_foreign(tmp_path / 'foreign', every_fourth_pixel, 'images')
    (tmp_path / 'foreign' / 'assets.extra').mkdir()
    grid = '{"cell_grid": {"first": 0, "stride": 4}}'
    (tmp_path / 'foreign' / description.METADATA_FILE).write_text(grid)
    with pytest.raises(errors.UserError, match='maps images uint8'):
        saved_model.load(str(tmp_path / 'foreign'))


def test_an_incomplete_model_is_named_in_one_line(tmp_path):
    save_foreign(tmp_path / 'foreign', every_fourth_pixel)
    for file in (tmp_path / 'foreign' / 'variables').iterdir():
        file.unlink()
    with pytest.raises(errors.UserError, match='foreign cannot be loaded, is it comp') as raised:
        saved_model.load(str(tmp_path / 'foreign'))
    assert '\n' not in str(raised.value)


def saved_model_cli(*arguments):
    command = [sys.executable, '-m', 'tensorflow.python.tools.saved_model_cli', *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_saved_model_cli_shows_the_signatures(exported):
    shown = saved_model_cli('show', '--all', '--dir', exported[1])
    for words in (
        "signature_def['features']",
        "signature_def['propagate']",
        "inputs['frames']",
        'dtype: DT_UINT8',
        'shape: (-1, -1, -1, 16)',
        "outputs['labels']",
        "signature_def['features_encoded']",
        "inputs['images']",
        'dtype: DT_STRING',
        "outputs['features_bytes']",
        "signature_def['describe']",
        "signature_def['serving_default']",
    ):
        assert words in shown


@pytest.mark.slow
def test_saved_model_cli_runs_the_features(exported, tmp_path):
    frames = random_frames(2, 24, 40)
    np.save(tmp_path / 'frames.npy', frames)
    saved_model_cli(
        'run',
        '--dir',
        exported[1],
        '--tag_set',
        'serve',
        '--signature_def',
        'features',
        '--inputs',
        f'frames={tmp_path / "frames.npy"}',
        '--outdir',
        str(tmp_path),
    )
    found = np.load(tmp_path / 'features.npy')
    np.testing.assert_allclose(found, expected_features(exported[0], frames, 'stage3'), atol=2e-6)


@pytest.mark.slow
def test_command_exports_a_training_run(tmp_path):
    run = tmp_path / 'run'
    model = make_encoder()
    checkpoint = tf.train.Checkpoint(encoder=model, step=tf.Variable(7, dtype=tf.int64))
    checkpoint.save(str(run / 'checkpoints' / 'last' / 'step'))
    (run / 'config.gin').write_text(
        'train.encoder = @resnet18\nresnet18.width = 4\nresnet18.head_widths = (12, 6)\n'
        "resnet18.statistics = 'cifar10'\n"
    )
    root = pathlib.Path(__file__).parents[2]
    out = tmp_path / 'served' / '1'
    command = [sys.executable, '-m', 'tools.export', f'--output_dir={out}']

    def export(*arguments):
        return subprocess.run([*command, *arguments], cwd=root, capture_output=True, text=True)

    result = export(f'--model_dir={run}', '--layer=head')
    assert result.returncode == 0, result.stderr
    assert list(versions(tmp_path / 'served')) == [1]
    loaded = saved_model.load(str(out))
    assert loaded.metadata['step'] == 7 and 'resnet18.width = 4' in loaded.metadata['config']
    frames = random_frames(1, 40, 48)
    expected = expected_features(model, frames, 'head')
    np.testing.assert_allclose(loaded.features(frames), expected, atol=2e-6)
    assert 'unsupported characters' not in result.stderr
    result = export(f'--model_dir={tmp_path}')
    assert result.returncode == 1 and 'config.gin does not exist' in result.stderr
    result = export('--format=onnx')
    assert result.returncode == 1 and 'Give either --model_dir or --saved_model' in result.stderr


@pytest.mark.slow
def test_command_exports_an_export_in_another_format(exported, tmp_path):
    model, path = exported
    out = tmp_path / 'out'
    command = [sys.executable, '-m', 'tools.export', f'--saved_model={path}']
    command += [f'--output_dir={out}', '--format=onnx', '--frame_size=40,48']
    root = pathlib.Path(__file__).parents[2]

    def export(*arguments):
        done = subprocess.run([*command, *arguments], cwd=root, capture_output=True, text=True)
        return done.returncode, done.stderr

    out.mkdir()
    (out / 'notes.txt').write_text('mine')
    status, message = export()
    assert status == 1 and 'it is not replaced' in message and '--overwrite' in message
    status, message = export('--overwrite', '--licence=CC0-1.0', '--training_data=My videos')
    assert status == 0, message
    assert not (out / 'notes.txt').exists()
    frames = random_frames(1, 40, 48)
    loaded = loading.load(out)
    np.testing.assert_allclose(
        loaded.features(frames), expected_features(model, frames, 'stage3'), atol=1e-4
    )
    assert loaded.metadata['step'] == 7 and loaded.metadata['training_data'] == 'My videos'
    status, message = export('--format=tflite')
    assert status == 0, message
    assert 'unsupported characters' not in message and 'non-converted ops' not in message
    status, more = export('--format=tflite', '--verbosity=1')
    assert status == 0 and len(more) > len(message)
    status, message = export('--frame_size=40')
    assert status == 1 and '--frame_size=40: give HEIGHT,WIDTH' in message
