"""PyTorch checkpoints are read without PyTorch, and what they say is not run."""

import hashlib
import os
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import test_encoder

from stfc3_tf import encoder
from stfc3_tf import errors
from stfc3_tf import serving
from stfc3_tf import torch_weights

STORAGES = {
    '<f4': 'FloatStorage',
    '<f8': 'DoubleStorage',
    '<f2': 'HalfStorage',
    '<i8': 'LongStorage',
    '<u2': 'BFloat16Storage',  # NumPy has no such type: its bits.
}


# A writer of PyTorch's formats, opcode by opcode.
def text(value):
    return b'X' + struct.pack('<i', len(value.encode())) + value.encode()


def integer(value):
    return b'J' + struct.pack('<i', value)


def group(*parts):
    return b'(' + b''.join(parts) + b't'


def mapping(items):
    return b'}(' + b''.join(text(key) + value for key, value in items.items()) + b'u'


def program(body):
    return b'\x80\x02' + body + b'.'


def tensor(key, array, offset=0, size=None, stride=None, legacy=False):
    """Opcodes of a tensor that views the storage `key`."""
    size = array.shape if size is None else size
    stride = [n // array.itemsize for n in array.strides] if stride is None else stride
    storage_type = f'ctorch\n{STORAGES[array.dtype.str]}\n'.encode()
    reference = [text('storage'), storage_type, text(key), text('cpu'), integer(array.size)]
    storage = group(*reference, *([b'N'] if legacy else [])) + b'Q'
    hooks = b'ccollections\nOrderedDict\n)R'
    arguments = [storage, integer(offset), group(*map(integer, size)), group(*map(integer, stride))]
    return b'ctorch._utils\n_rebuild_tensor_v2\n' + group(*arguments, b'\x89', hooks) + b'R'


def write_zip(path, body, storages):
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('any/data.pkl', program(body))
        archive.writestr('any/byteorder', b'little')
        for key, array in storages.items():
            archive.writestr(f'any/data/{key}', array.tobytes())
    return str(path)


def write_legacy(path, body, storages):
    with open(path, 'wb') as file:
        file.write(program(b'\x8a\x0a' + (0x1950A86A20F9469CFC6C).to_bytes(10, 'little')))
        file.write(program(integer(1001)))
        file.write(program(mapping({'little_endian': b'\x88'})))
        file.write(program(body))
        file.write(program(b'](' + b''.join(map(text, storages)) + b'e'))
        for array in storages.values():
            file.write(struct.pack('<q', array.size) + array.tobytes())
    return str(path)


def write_arrays(path, arrays, nest=lambda body: body):
    storages = {str(i): array for i, array in enumerate(arrays.values())}
    body = mapping({n: tensor(k, storages[k]) for n, k in zip(arrays, storages)})
    return write_zip(path, nest(body), storages)


@pytest.mark.parametrize('legacy', [False, True])
def test_reads_tensors_of_every_kind(tmp_path, legacy):
    numbers = np.arange(24, dtype='<f4')
    storages = {'7': numbers, 'b': np.array([3], '<i8'), 'c': np.array([0.5, -2], '<f2')}
    # bfloat16 is the upper half of float32.
    storages['d'] = (np.array([1.5, -3.140625], '<f4').view('<u4') >> 16).astype('<u2')
    view = dict(offset=4, size=(3, 2), stride=(2, 1), legacy=legacy)
    body = mapping(
        {
            'epoch': integer(3),
            'args': b'cargparse\nNamespace\n)\x81' + mapping({'lr': integer(1)}) + b'b',
            'model': mapping(
                {
                    'whole': tensor('7', numbers.reshape(2, 3, 4), legacy=legacy),
                    'view': tensor('7', numbers, **view),
                    'transposed': tensor('7', numbers, size=(4, 6), stride=(1, 4), legacy=legacy),
                    'steps': tensor('b', storages['b'], size=(), stride=(), legacy=legacy),
                    'half': tensor('c', storages['c'], legacy=legacy),
                    'brain': tensor('d', storages['d'], legacy=legacy),
                }
            ),
        }
    )
    write = write_legacy if legacy else write_zip
    arrays = torch_weights.read_checkpoint(write(tmp_path / 'model.pth', body, storages))
    expected = {
        'model.whole': numbers.reshape(2, 3, 4),
        'model.view': numbers[4:10].reshape(3, 2),
        'model.transposed': numbers.reshape(6, 4).T,
        'model.steps': np.array(3),
        'model.half': np.array([0.5, -2]),
        'model.brain': np.array([1.5, -3.140625]),
    }
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(np.asarray(arrays[name], np.float64), array)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize('legacy', [False, True])
def test_a_malicious_checkpoint_is_refused_by_name_and_not_run(tmp_path, legacy):
    trap = tmp_path / 'trap'
    body = pickle.dumps(Malicious(str(trap)), protocol=2)[2:-1]
    write = write_legacy if legacy else write_zip
    path = write(tmp_path / 'model.pth', body, {})
    with pytest.raises(errors.UserError, match=r'model.pth names (posix|nt)\.mkdir'):
        torch_weights.read_checkpoint(path)
    assert not trap.exists()
    # The trap works where nobody looks.
    pickle.loads(program(body))
    assert trap.exists()


@pytest.mark.parametrize(
    'name', ['builtins eval', 'builtins getattr', 'torch load', 'collections abc']
)
def test_no_other_global_may_be_named(tmp_path, name):
    module, attribute = name.split()
    path = write_zip(tmp_path / 'model.pth', f'c{module}\n{attribute}\n'.encode(), {})
    with pytest.raises(errors.UserError, match=f'names {module}.{attribute}'):
        torch_weights.read_checkpoint(path)


@pytest.mark.parametrize(
    'view',
    [
        dict(offset=1, size=(4,), stride=(1,)),
        dict(offset=0, size=(2,), stride=(4,)),
        dict(offset=-1, size=(2,), stride=(1,)),
        dict(offset=3, size=(2,), stride=(-1,)),
    ],
)
def test_a_tensor_never_reaches_beyond_its_storage(tmp_path, view):
    numbers = np.zeros(4, '<f4')
    body = mapping({'a': tensor('0', numbers, **view)})
    with pytest.raises(errors.UserError, match='reaches beyond its storage'):
        torch_weights.read_checkpoint(write_zip(tmp_path / 'model.pth', body, {'0': numbers}))


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / 'model.pth'
    with pytest.raises(errors.UserError, match='model.pth cannot be read'):
        torch_weights.read_checkpoint(str(path))
    for content in (b'', b'not a checkpoint', pickle.dumps({'a': 1})):
        path.write_bytes(content)
        with pytest.raises(errors.UserError, match='model.pth is no PyTorch checkpoint'):
            torch_weights.read_checkpoint(str(path))
    numbers = np.zeros(4, '<f4')
    body = mapping({'a': tensor('0', numbers)})
    with pytest.raises(errors.UserError, match='cut short'):
        torch_weights.read_checkpoint(write_zip(path, body, {'0': numbers[:2]}))
    write_legacy(path, mapping({'a': tensor('0', numbers, legacy=True)}), {'0': numbers})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(errors.UserError, match='damaged'):
        torch_weights.read_checkpoint(str(path))
    write_zip(path, mapping({'a': integer(1)}), {})
    with pytest.raises(errors.UserError, match='holds no arrays'):
        torch_weights.read_checkpoint(str(path))


def norm_shapes(name, channels):
    kinds = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{name}.{kind}': (channels,) for kind in kinds}


def stfc3_shapes():
    """Shapes of ResNet-18 and of a 512-64-32 head, by the names of the golden features' weights."""
    shapes = {'conv1.weight': (64, 3, 7, 7), **norm_shapes('bn1', 64)}
    for stage, (inputs, width) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], 1):
        for block, channels in enumerate((inputs, width)):
            name = f'layer{stage}.{block}'
            shapes[f'{name}.conv1.weight'] = (width, channels, 3, 3)
            shapes[f'{name}.conv2.weight'] = (width, width, 3, 3)
            shapes.update(
                {**norm_shapes(f'{name}.bn1', width), **norm_shapes(f'{name}.bn2', width)}
            )
        if inputs != width:
            shapes[f'layer{stage}.0.downsample.0.weight'] = (width, inputs, 1, 1)
            shapes.update(norm_shapes(f'layer{stage}.0.downsample.1', width))
    shapes.update({'head.conv0.weight': (64, 512, 1, 1), 'head.conv0.bias': (64,)})
    return {**shapes, **norm_shapes('head.bn', 64), 'head.conv1.weight': (32, 64, 1, 1)}


@pytest.fixture(scope='module')
def golden_checkpoint(tmp_path_factory):
    """The golden features' weights as the authors' program would have saved them."""
    head = {'conv0': 'conv1d_0_512_64', 'bn': 'bn_0', 'conv1': 'conv1d_1_64_32'}
    arrays = {}
    for name, shape in stfc3_shapes().items():
        array = test_encoder.torch_array(name, shape)
        if name.startswith('head.'):
            _, layer, kind = name.split('.')
            arrays[f'encoder.projector.{head[layer]}.{kind}'] = array
        else:
            arrays[f'encoder.backbone.{name}'] = array
    return write_arrays(tmp_path_factory.mktemp('golden') / '0025_STFC3.pth', arrays)


@pytest.mark.parametrize('padding', encoder.PADDINGS)
def test_imported_weights_give_the_authors_features(golden_checkpoint, padding):
    imported, unused = torch_weights.load_encoder(golden_checkpoint, 'head', padding)
    assert unused == []
    features = imported(test_encoder.golden_frames(padding), training=False)
    for there, output in (('layer3', 'stage3'), ('layer4', 'stage4'), ('head', 'head')):
        name = f'{test_encoder.GOLDEN_NAMES[padding]}_eval_{there}'
        expected = test_encoder.GOLDEN[name].transpose(0, 2, 3, 1)
        step = test_encoder.GOLDEN_LAYERS[there][1]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            features[output].numpy()[..., ::step] / scale, expected / scale, rtol=0, atol=2e-5
        )


def small_encoder():
    model = encoder.resnet18(width=4, head_widths=(12, 6), seed=3)
    model(tf.random.stateless_normal([2, 64, 64, 3], seed=[0, 0]), training=True)
    return model


def torch_arrays(model, backbone='', head=None):
    """An encoder's weights under PyTorch's names, with the step counters PyTorch adds."""
    head_names = {'head.conv0': 'conv1d_0_32_12', 'head.bn': 'bn_0', 'head.conv1': 'conv1d_1_12_6'}
    arrays = {}
    for layer in model.layers:
        prefix, name = backbone, layer.name
        if name in head_names:
            if head is None:
                continue
            prefix, name = head, head_names[name]
        for variable in layer.weights:
            kind = variable.name.split('/')[-1].split(':')[0]
            array = variable.numpy()
            if array.ndim == 4:
                array = np.ascontiguousarray(array.transpose(3, 2, 0, 1))
            arrays[f'{prefix}{name}.{test_encoder.TORCH_NAMES[kind]}'] = array
            if kind == 'gamma':
                arrays[f'{prefix}{name}.num_batches_tracked'] = np.array(5, '<i8')
    return arrays


@pytest.mark.parametrize(
    'backbone, head',
    [
        ('', None),
        ('module.', None),
        ('encoder.model.', None),
        ('module.backbone.', 'module.projector.'),
        ('module.encoder.backbone.', 'module.encoder.projector.'),
    ],
)
def test_known_names_give_the_same_encoder(tmp_path, backbone, head):
    model = small_encoder()
    arrays = torch_arrays(model, backbone, head)
    path = write_arrays(tmp_path / 'model.pth', arrays, lambda body: mapping({'model': body}))
    layer = 'head' if head else 'stage4'
    imported, unused = torch_weights.load_encoder(path, layer)
    assert unused == []
    frames = tf.random.stateless_normal([1, 40, 48, 3], seed=[1, 1])
    np.testing.assert_allclose(imported(frames)[layer], model(frames)[layer], atol=1e-6)


def test_padding_follows_the_classifier_unless_given(tmp_path):
    model = small_encoder()
    arrays = {**torch_arrays(model), 'fc.weight': np.zeros((10, 32), '<f4')}
    path = write_arrays(tmp_path / 'model.pth', arrays)
    zero = encoder.resnet18(padding='zero', width=4)
    reference = tf.keras.Model(zero.input, zero.output['stage4'])
    reference.set_weights(tf.keras.Model(model.input, model.output['stage4']).get_weights())
    frames = tf.random.stateless_normal([1, 40, 48, 3], seed=[1, 1])
    imported, unused = torch_weights.load_encoder(path, 'stage4')
    assert unused == ['fc.weight']
    np.testing.assert_allclose(imported(frames)['stage4'], reference(frames), atol=1e-6)
    imported, _ = torch_weights.load_encoder(path, 'stage4', padding='reflect')
    np.testing.assert_allclose(imported(frames)['stage4'], model(frames)['stage4'], atol=1e-6)


def test_a_checkpoint_without_the_later_stages_gives_stage_3(tmp_path):
    arrays = {n: a for n, a in torch_arrays(small_encoder()).items() if not n.startswith('layer4')}
    path = write_arrays(tmp_path / 'model.pth', arrays)
    assert torch_weights.load_encoder(path, 'stage3')[1] == []
    with pytest.raises(errors.UserError, match='Missing: layer4.0.conv1.weight.* and 17 more'):
        torch_weights.load_encoder(path, 'stage4')


def test_what_lies_beside_the_encoder_is_told(tmp_path):
    arrays = torch_arrays(small_encoder(), 'model.encoder.model.')
    extra = {
        'model.selfsim_fc.0.weight': np.zeros((2, 2), '<f4'),
        'optimizer.state.0.exp_avg': np.zeros(3, '<f4'),
    }
    path = write_arrays(tmp_path / 'model.pth', {**arrays, **extra})
    assert torch_weights.load_encoder(path, 'stage4')[1] == list(extra)
    # 2 blocks of 2 convolutions and 2 norms of 4 arrays, and the shortcut's 1 and 4.
    assert len(torch_weights.load_encoder(path, 'stage3')[1]) == 20 + 5 + len(extra)


def test_what_does_not_fit_is_listed(tmp_path):
    arrays = torch_arrays(small_encoder())
    path = tmp_path / 'model.pth'

    def refused(match, **changes):
        write_arrays(path, {**arrays, **changes})
        with pytest.raises(errors.UserError, match=match):
            torch_weights.load_encoder(str(path))

    kernel = arrays['layer2.0.conv1.weight']
    refused(
        r'layer2.0.conv1.weight \[3, 3, 4, 7\] instead of \[3, 3, 4, 8\]',
        **{'layer2.0.conv1.weight': np.ascontiguousarray(kernel[:7])},
    )
    refused(
        'more than a ResNet-18: it also has layer1.2.conv1.weight',
        **{'layer1.2.conv1.weight': arrays['layer1.1.conv1.weight']},
    )
    twice = {**arrays, **{f'momentum.{name}': array for name, array in arrays.items()}}
    refused('several ResNets: choose one with --prefix', **twice)
    torch_weights.load_encoder(str(path), prefix='momentum.')
    write_arrays(path, {'weight': np.zeros((2, 2), '<f4')})
    with pytest.raises(errors.UserError, match='holds no ResNet-18.* It holds weight'):
        torch_weights.load_encoder(str(path))


def test_command(tmp_path):
    model = small_encoder()
    arrays = torch_arrays(model, 'model.encoder.model.')
    arrays['model.selfsim_fc.0.bias'] = np.zeros(2, '<f4')
    path = write_arrays(tmp_path / 'model.pth', arrays)
    command = [sys.executable, '-m', 'tools.import_torch', f'--checkpoint={path}']
    command.append(f'--output_dir={tmp_path / "saved"}')
    root = pathlib.Path(__file__).parent.parent
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 'layer4.0 (15), layer4.1 (10), model.selfsim_fc (1)' in result.stderr
    loaded = serving.load(str(tmp_path / 'saved'))
    digest = hashlib.sha256((tmp_path / 'model.pth').read_bytes()).hexdigest()
    assert loaded.metadata['checkpoint'] == 'model.pth'
    assert loaded.metadata['checkpoint_sha256'] == digest
    frames = np.random.default_rng(0).integers(0, 256, (1, 40, 48, 3), np.uint8)
    expected = model(encoder.normalise_frames(frames, model.statistics))['stage3']
    np.testing.assert_allclose(
        loaded.features(frames), tf.math.l2_normalize(expected, -1), atol=2e-6
    )
    (tmp_path / 'model.pth').write_bytes(b'no')
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 1 and 'error: ' in result.stderr
    assert 'Traceback' not in result.stderr
