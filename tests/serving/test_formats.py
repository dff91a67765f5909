"""Every format gives the features of the SavedModel and is loaded in the same way."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
from small_encoders import make_encoder, random_frames
import tensorflow as tf

import stfc3_tf
from stfc3_tf import errors
from stfc3_tf.clips import synthetic
from stfc3_tf.model import resnet
from stfc3_tf.serving import (
    compact_weights,
    encoder_from_export,
    export,
    loading,
    saved_model,
    shipped,
)

ROOT = pathlib.Path(__file__).parents[2]
FILES = {'onnx': 'model.onnx', 'tflite': 'model.tflite', 'compact': ''}
# Half-precision kernels of a network of this size move its features by less than this.
TOLERANCE = {'onnx': 1e-4, 'tflite': 1e-4, 'compact': 5e-3}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Make a folder with one encoder in every format."""
    folder = tmp_path_factory.mktemp('formats')
    encoder = make_encoder()
    for name in export.FORMATS:
        export.export(encoder, str(folder / name), name, metadata={'step': 7, 'licence': 'CC0-1.0'})
    return folder


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('size', [(64, 64), (57, 41), (9, 100)])
def test_features_are_those_of_the_saved_model(exported, name, size):
    frames = random_frames(2, *size)
    expected = saved_model.load(str(exported / 'saved_model')).features(frames)
    loaded = stfc3_tf.load(exported / name / FILES[name])
    features = loaded.features(frames)
    assert features.dtype == np.float32 and features.shape == expected.shape
    np.testing.assert_allclose(features, expected, atol=TOLERANCE[name])
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), 1, atol=1e-5)
    assert loaded.cell_grid == resnet.CellGrid(0, 8)
    # Another size, then the first again: nothing is kept of a size.
    loaded.features(random_frames(1, 30, 50))
    np.testing.assert_array_equal(loaded.features(frames), features)


def test_tflite_runs_with_tensorflow_alone(exported, monkeypatch):
    frames = random_frames(1, 40, 52)
    expected = stfc3_tf.load(exported / 'tflite' / 'model.tflite').features(frames)
    monkeypatch.setitem(sys.modules, 'ai_edge_litert.interpreter', None)
    alone = stfc3_tf.load(exported / 'tflite' / 'model.tflite')
    np.testing.assert_allclose(alone.features(frames), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['onnx', 'tflite'])
@pytest.mark.parametrize(
    'padding, layer', [('zero', 'stage3'), ('replicate', 'stage3'), ('none', 'head')]
)
def test_every_padding_at_a_fixed_size(tmp_path, name, padding, layer):
    encoder = make_encoder(padding=padding)
    size = (240, 250)
    export.export(encoder, str(tmp_path / 'fixed'), name, layer, frame_size=size)
    saved_model.export(encoder, str(tmp_path / 'model'), layer)
    frames = random_frames(1, *size)
    fixed, any_size = loading.load(tmp_path / 'fixed'), loading.load(tmp_path / 'model')
    np.testing.assert_allclose(fixed.features(frames), any_size.features(frames), atol=1e-4)
    assert fixed.cell_grid == any_size.cell_grid
    with pytest.raises(errors.UserError, match='only frames of 240x250 pixels .*, these .*240x248'):
        fixed.features(frames[:, :, 2:])


@pytest.mark.slow
def test_onnx_of_the_keras_cv_encoder(tmp_path):
    pytest.importorskip('keras_cv')
    encoder = resnet.keras_cv_backbone(head_widths=(8, 4))
    export.export(encoder, str(tmp_path / 'onnx'), 'onnx')
    saved_model.export(encoder, str(tmp_path / 'model'))
    frames = random_frames(1, 50, 77)
    found, expected = (loading.load(tmp_path / name).features(frames) for name in ('onnx', 'model'))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(errors.UserError, match='Only a resnet18 has a compact form'):
        export.export(encoder, str(tmp_path / 'compact'), 'compact')
    assert not (tmp_path / 'compact').exists()


@pytest.mark.parametrize('name', export.FORMATS)
def test_metadata_card_and_identity(exported, name):
    loaded = stfc3_tf.load(str(exported / name))
    assert loaded.metadata['step'] == 7 and loaded.metadata['channels'] == 16
    assert loaded.metadata['arguments']['width'] == 4
    card = (exported / name / 'MODEL_CARD.md').read_text()
    assert '| Licence | CC0-1.0 |' in card and '| Training step | 7 |' in card
    assert '| Training data | Not stated. Fill this in' in card
    assert loaded.metadata['weights_sha256'] in card and 'radius = 12.0' in card
    assert 'Known failures' in card and '$' not in card
    (file,) = re.findall(r'\| File \| `(.+)` \|', card)
    digest = hashlib.sha256((exported / name / file).read_bytes()).hexdigest()
    assert f'| SHA-256 of `{file}` | `{digest}` |' in card
    (digest, grid) = loaded.identity().items()
    assert len(digest[1]) == 64 and grid == ('cell_grid', {'first': 0, 'stride': 8})


@pytest.mark.parametrize('name', FILES)
def test_points_follow_as_with_the_saved_model(exported, name):
    scene = synthetic.scene(0, 64, 80)
    frames = [scene.frame(t / 8) for t in range(4)]
    points = np.array([[20.0, 30.0], [61.5, 40.25]])
    found, expected = (
        [label.points for label in stfc3_tf.propagate_points(encoder, frames, points)]
        for encoder in map(stfc3_tf.load, (exported / name, exported / 'saved_model'))
    )
    assert not np.allclose(expected[3], points, atol=0.5)
    np.testing.assert_allclose(found, expected, atol=1e-2 if name != 'compact' else 0.5)


@pytest.mark.parametrize('name', FILES)
def test_frames_of_the_wrong_kind_are_refused(exported, name):
    loaded = stfc3_tf.load(exported / name)
    with pytest.raises(errors.UserError, match='9 pixels or more high and wide, not 8x20'):
        loaded.features(random_frames(1, 8, 20))
    with pytest.raises(errors.UserError, match=r'must be uint8 .* not float64 \[1, 32, 32, 3\]'):
        loaded.features(np.zeros((1, 32, 32, 3)))
    with pytest.raises(errors.UserError, match='give at least 1 frame'):
        loaded.features(random_frames(0, 32, 32))


@pytest.mark.parametrize('ending', ['onnx', 'tflite'])
def test_files_of_another_kind_are_named(tmp_path, ending):
    path = tmp_path / f'mine.{ending}'
    with pytest.raises(errors.UserError, match=f'mine.{ending} cannot be read: No such file'):
        stfc3_tf.load(path)
    path.write_bytes(b'no model')
    with pytest.raises(errors.UserError, match=f'mine.{ending}') as raised:
        stfc3_tf.load(path)
    assert '\n' not in str(raised.value)


def test_an_onnx_model_made_elsewhere_is_refused(tmp_path, exported):
    model = onnx.load(exported / 'onnx' / 'model.onnx')
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'other.onnx')
    with pytest.raises(errors.UserError, match='was not written by tools.export --format=onnx'):
        stfc3_tf.load(tmp_path / 'other.onnx')


def test_the_metadata_of_a_tflite_file_can_be_unzipped(exported):
    with zipfile.ZipFile(exported / 'tflite' / 'model.tflite') as archive:
        assert json.loads(archive.read('stfc3.json'))['step'] == 7


def test_compact_weights_are_few_and_checked(tmp_path):
    encoder = make_encoder(width=16)
    export.export(encoder, str(tmp_path / 'compact'), 'compact')
    weights = tmp_path / 'compact' / 'weights.npz'
    part = sum(np.prod(w.shape) for w in encoder.get_layer('layer4.0.conv1').weights)
    assert 2 * part < weights.stat().st_size < 2.2 * (encoder.count_params() / 4)
    again, metadata = compact_weights.read(str(tmp_path / 'compact'))
    for name in ('conv1', 'layer3.1.bn2'):
        for found, expected in zip(
            again.get_layer(name).get_weights(), encoder.get_layer(name).get_weights()
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
    assert [layer.name for layer in again.layers if layer.name.startswith('layer4')] == []
    assert metadata['arguments']['stage_strides'] == [1, 2, 1, 1]
    contents = bytearray(weights.read_bytes())
    contents[len(contents) // 2] ^= 1
    weights.write_bytes(contents)
    with pytest.raises(errors.UserError, match='weights.npz is damaged'):
        stfc3_tf.load(tmp_path / 'compact')
    os.remove(tmp_path / 'compact' / 'stfc3.json')
    with pytest.raises(errors.UserError, match='stfc3.json cannot be read'):
        stfc3_tf.load(tmp_path / 'compact')


@pytest.mark.slow
@pytest.mark.parametrize('layer', ['stage3', 'head'])
def test_a_saved_model_is_built_again(tmp_path, layer):
    encoder = make_encoder(head_order='norm_first', padding='zero')
    saved_model.export(encoder, str(tmp_path / 'model'), layer, {'step': 3})
    again, metadata = encoder_from_export.rebuild(str(tmp_path / 'model'))
    assert metadata['step'] == 3 and metadata['layer'] == layer
    saved_model.export(again, str(tmp_path / 'again'), layer, metadata)
    frames = random_frames(1, 48, 40)
    first, second = (loading.load(tmp_path / name) for name in ('model', 'again'))
    np.testing.assert_allclose(second.features(frames), first.features(frames), atol=1e-6)
    assert second.metadata['weights_sha256'] == first.metadata['weights_sha256']


def test_an_export_says_what_it_replaces(tmp_path, caplog):
    caplog.set_level('INFO', logger='absl')
    encoder, path = make_encoder(), tmp_path / 'compact'
    path.mkdir()
    export.export(encoder, str(path), 'compact')
    assert not caplog.messages
    export.export(encoder, str(path), 'compact')
    assert caplog.messages == [f'The older contents of {path} were replaced.']


def test_encoders_that_come_with_the_package(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, 'FOLDER', tmp_path / 'encoders')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UserError, match=r"'stfc3-small' is neither .* which are: none"):
        stfc3_tf.load('stfc3-small')
    (tmp_path / 'encoders').mkdir()
    (tmp_path / 'encoders' / 'stfc3-small').symlink_to(exported / 'compact')
    assert stfc3_tf.load('stfc3-small').metadata['step'] == 7
    with pytest.raises(errors.UserError, match='which are: stfc3-small'):
        stfc3_tf.load('stfc3-smal')
    with pytest.raises(errors.UserError, match='models/mine: there is no such file or folder'):
        stfc3_tf.load('models/mine')


@pytest.mark.parametrize('file', ['saved_model.pb', 'model.onnx', 'model.tflite', 'weights.npz'])
def test_an_encoder_in_a_folder_of_the_given_one_is_named(tmp_path, file):
    run = tmp_path / 'run'
    (run / 'saved_model').mkdir(parents=True)
    (run / 'log').mkdir()
    with pytest.raises(errors.UserError, match='run holds no SavedModel .* tools.export and'):
        stfc3_tf.load(run)
    (run / 'saved_model' / file).touch()
    with pytest.raises(
        errors.UserError, match=f'run holds no .*: did you mean {run}/saved_model.$'
    ):
        stfc3_tf.load(run)


@pytest.mark.parametrize('name, package', [('onnx', 'onnx'), ('onnx', 'onnxruntime')])
def test_a_missing_package_is_named(exported, tmp_path, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, 'stfc3_tf.serving.onnx_graph', raising=False)
    monkeypatch.delattr(stfc3_tf.serving, 'onnx_graph', raising=False)
    with pytest.raises(errors.UserError, match=rf'{package} .*stfc3-tf\[onnx\]'):
        if package == 'onnx':
            export.export(make_encoder(), str(tmp_path / 'out'), name)
        else:
            stfc3_tf.load(exported / name)


def test_settings_that_do_not_fit_the_format(tmp_path):
    encoder = make_encoder()
    for name in ('saved_model', 'compact'):
        with pytest.raises(errors.UserError, match='any size; leave it'):
            export.export(encoder, str(tmp_path / 'out'), name, frame_size=(64, 64))
    with pytest.raises(errors.UserError, match='frame_size=8: give a whole number from 9 to 8192'):
        export.export(encoder, str(tmp_path / 'out'), 'onnx', frame_size=(64, 8))
    with pytest.raises(errors.UserError, match="format='pb': choose one of saved_model, onnx"):
        export.export(encoder, str(tmp_path / 'out'), 'pb')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('name', ['onnx', 'compact', 'saved_model'])
def test_folders_on_other_file_systems(exported, name):
    # TensorFlow's file system in memory stands for any that Python itself cannot read.
    folder = f'ram://models/{name}'
    for path in (exported / name).rglob('*'):
        if path.is_file():
            there = f'{folder}/{path.relative_to(exported / name)}'
            tf.io.gfile.makedirs(os.path.dirname(there))
            tf.io.gfile.copy(str(path), there, overwrite=True)
    frames = random_frames(1, 30, 40)
    found, expected = (stfc3_tf.load(path).features(frames) for path in (folder, exported / name))
    np.testing.assert_array_equal(found, expected)


WITHOUT = """
import sys
sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'tensorflow_io']))
import stfc3_tf
try:
    stfc3_tf.load(sys.argv[2])
except stfc3_tf.UserError as error:
    assert 'needs TensorFlow' in str(error)
else:
    raise AssertionError('A SavedModel was loaded without TensorFlow.')
encoder = stfc3_tf.load(sys.argv[1])
import numpy as np
frames = np.random.default_rng(5).integers(0, 256, (1, 40, 56, 3), np.uint8)
labels = stfc3_tf.propagate_points(encoder, [*frames, *frames[:, ::-1]], np.array([[20.0, 30.0]]))
mask = np.ones((40, 56), np.uint8)
mask[:20] = 0
masks = stfc3_tf.propagate_masks(encoder, frames, mask)
print(encoder.features(frames).shape, len(list(labels)), len(list(masks)))
"""


@pytest.mark.parametrize('name', ['onnx', 'tflite'])
def test_features_and_propagation_without_tensorflow(exported, name):
    path = str(exported / name / FILES[name])
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT, path, str(exported / 'saved_model')],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == '(1, 5, 7, 16) 2 1\n'


def test_the_package_alone_does_not_import_tensorflow():
    program = 'import sys, stfc3_tf; print(stfc3_tf.__version__, "tensorflow" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == f'{stfc3_tf.__version__} False\n', done.stderr
    for name in stfc3_tf.__all__:
        assert getattr(stfc3_tf, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'propagate_boxes'"):
        stfc3_tf.propagate_boxes  # noqa: B018
