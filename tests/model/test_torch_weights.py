"""PyTorch checkpoints are read without PyTorch, and no code in them is run."""

import functools
import hashlib
import json
import os
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import zipfile

import golden_encoder
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.model import resnet, torch_files, torch_weights
from stfc3_tf.serving import saved_model

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
    """Return the opcodes of a tensor that is a view of the storage `key`."""
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
    arrays = torch_files.read_checkpoint(write(tmp_path / 'model.pth', body, storages))
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
        torch_files.read_checkpoint(path)
    assert not trap.exists()
    # The trap does work in an unprotected reader.
    pickle.loads(program(body))
    assert trap.exists()


@pytest.mark.parametrize(
    'name', ['builtins eval', 'builtins getattr', 'torch load', 'collections abc']
)
def test_no_other_global_may_be_named(tmp_path, name):
    module, attribute = name.split()
    path = write_zip(tmp_path / 'model.pth', f'c{module}\n{attribute}\n'.encode(), {})
    with pytest.raises(errors.UserError, match=f'names {module}.{attribute}'):
        torch_files.read_checkpoint(path)


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
    with pytest.raises(errors.UserError, match='reaches beyond its storage|from (-1|3) on'):
        torch_files.read_checkpoint(write_zip(tmp_path / 'model.pth', body, {'0': numbers}))


def rebuilt(*arguments):
    return b'ctorch._utils\n_rebuild_tensor_v2\n' + group(*arguments) + b'R'


def test_a_tensor_is_not_the_storage_of_another(tmp_path):
    numbers = np.ones(1, '<f4')
    # A view with stride 0 seems to have a million numbers; one of it with stride 1 would read
    # memory that the file does not own.
    long = tensor('0', numbers, size=(1_000_000,), stride=(0,))
    body = mapping({'a': rebuilt(long, integer(0), group(integer(9)), group(integer(1)), b'\x89')})
    path = write_zip(tmp_path / 'model.pth', body, {'0': numbers})
    with pytest.raises(errors.UserError, match='model.pth.*not a storage'):
        torch_files.read_checkpoint(path)


@pytest.mark.parametrize('size', [(5,), (1 << 30,), (1 << 20, 1 << 20)])
def test_a_tensor_has_no_more_numbers_than_its_storage(tmp_path, size):
    numbers = np.zeros(4, '<f4')
    body = mapping({'a': tensor('0', numbers, size=size, stride=[0] * len(size))})
    path = write_zip(tmp_path / 'model.pth', body, {'0': numbers})
    with pytest.raises(errors.UserError, match='reaches beyond its storage'):
        torch_files.read_checkpoint(path)


def test_a_storage_of_too_few_bytes_in_the_older_format(tmp_path):
    numbers = np.zeros(4, '<f4')
    body = mapping({'a': tensor('0', numbers, legacy=True)})
    path = write_legacy(tmp_path / 'model.pth', body, {'0': numbers})
    with open(path, 'r+b') as file:
        file.truncate(os.path.getsize(path) - 4)
    with pytest.raises(errors.UserError, match='model.pth is not a PyTorch checkpoint'):
        torch_files.read_checkpoint(path)


def test_a_dictionary_that_holds_itself_is_named(tmp_path):
    # EMPTY_DICT, memo 0, key, memo 0 again, SETITEM.
    body = b'}q\x00' + text('a') + b'h\x00s'
    with pytest.raises(errors.UserError, match='model.pth.*hold themselves'):
        torch_files.read_checkpoint(write_zip(tmp_path / 'model.pth', body, {}))


def test_a_dictionary_held_twice_at_every_level_is_refused(tmp_path):
    # 60 levels of two entries each that are the same dictionary: 2**60 names.
    body = b'}q\x00'
    for level in range(1, 60):
        inside = b'h' + bytes([level - 1])
        body += b'0}q' + bytes([level]) + text('a') + inside + b's' + text('b') + inside + b's'
    with pytest.raises(errors.UserError, match='model.pth.*hold themselves'):
        torch_files.read_checkpoint(write_zip(tmp_path / 'model.pth', body, {}))


def test_an_archive_that_unpacks_to_much_more_is_refused(tmp_path):
    numbers = np.zeros(20_000_000, '<f4')
    body = mapping({'a': tensor('0', numbers)})
    with zipfile.ZipFile(tmp_path / 'model.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('any/data.pkl', program(body))
        archive.writestr('any/data/0', numbers.tobytes())
    with pytest.raises(errors.UserError, match='would unpack to 80'):
        torch_files.read_checkpoint(str(tmp_path / 'model.pth'))


def test_a_checkpoint_does_not_fill_the_memory_with_copies(tmp_path):
    # torch.Size, which is a tuple, of one long list, again and again.
    numbers = b'](' + b'N' * 50_000 + b'eq\x01'
    body = b'ctorch\nSize\nq\x00' + numbers + b'(' + b'h\x00h\x01\x85R' * 10_000 + b't'
    with pytest.raises(errors.UserError, match='model.pth.*copies its values until they fill'):
        torch_files.read_checkpoint(write_zip(tmp_path / 'model.pth', body, {}))


def test_a_checkpoint_does_not_ask_for_a_network_that_fills_the_memory(tmp_path):
    arrays = torch_arrays(small_encoder())
    wide = np.zeros((2000, 3, 7, 7), '<f4')
    path = write_arrays(tmp_path / 'model.pth', {**arrays, 'conv1.weight': wide})
    with pytest.raises(errors.UserError, match=r'model.pth: conv1.weight has the shape \[2000'):
        torch_weights.load_encoder(path)


def test_damaged_and_foreign_files_are_named(tmp_path):
    path = tmp_path / 'model.pth'
    with pytest.raises(errors.UserError, match='model.pth cannot be read'):
        torch_files.read_checkpoint(str(path))
    for content in (b'', b'not a checkpoint', pickle.dumps({'a': 1})):
        path.write_bytes(content)
        with pytest.raises(errors.UserError, match='model.pth is not a PyTorch checkpoint'):
            torch_files.read_checkpoint(str(path))
    numbers = np.zeros(4, '<f4')
    body = mapping({'a': tensor('0', numbers)})
    with pytest.raises(errors.UserError, match='cut short'):
        torch_files.read_checkpoint(write_zip(path, body, {'0': numbers[:2]}))
    write_legacy(path, mapping({'a': tensor('0', numbers, legacy=True)}), {'0': numbers})
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(errors.UserError, match='damaged'):
        torch_files.read_checkpoint(str(path))
    write_zip(path, mapping({'a': integer(1)}), {})
    with pytest.raises(errors.UserError, match='holds no arrays'):
        torch_files.read_checkpoint(str(path))


def norm_shapes(name, channels):
    kinds = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{name}.{kind}': (channels,) for kind in kinds}


def stfc3_shapes():
    """Return shapes of ResNet-18 and a 512-64-32 head, by the names of the golden features."""
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
    """Return the golden features' weights as the authors' program would save them."""
    head = {'conv0': 'conv1d_0_512_64', 'bn': 'bn_0', 'conv1': 'conv1d_1_64_32'}
    arrays = {}
    for name, shape in stfc3_shapes().items():
        array = golden_encoder.torch_array(name, shape)
        if name.startswith('head.'):
            _, layer, kind = name.split('.')
            arrays[f'encoder.projector.{head[layer]}.{kind}'] = array
        else:
            arrays[f'encoder.backbone.{name}'] = array
    return write_arrays(tmp_path_factory.mktemp('golden') / '0025_STFC3.pth', arrays)


@pytest.mark.parametrize('padding', resnet.PADDINGS)
def test_imported_weights_give_the_authors_features(golden_checkpoint, padding):
    imported, unused = torch_weights.load_encoder(golden_checkpoint, 'head', padding)
    assert unused == []
    features = imported(golden_encoder.golden_frames(padding), training=False)
    for there, output in (('layer3', 'stage3'), ('layer4', 'stage4'), ('head', 'head')):
        name = f'{golden_encoder.GOLDEN_NAMES[padding]}_eval_{there}'
        expected = golden_encoder.GOLDEN[name].transpose(0, 2, 3, 1)
        step = golden_encoder.GOLDEN_LAYERS[there][1]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            features[output].numpy()[..., ::step] / scale, expected / scale, rtol=0, atol=2e-5
        )


@functools.cache
def small_encoder():
    model = resnet.resnet18(width=4, head_widths=(12, 6), seed=3)
    model(tf.random.stateless_normal([2, 64, 64, 3], seed=[0, 0]), training=True)
    return model


def torch_arrays(model, backbone='', head=None):
    """Return an encoder's weights by PyTorch's names, with the step counters PyTorch adds."""
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
            arrays[f'{prefix}{name}.{golden_encoder.TORCH_NAMES[kind]}'] = array
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


def mmaction_name(name):
    """Return mmaction's form of a name of torchvision's ResNet."""
    for number in ('1', '2'):
        name = re.sub(rf'\bbn{number}\.', f'conv{number}.bn.', name)
        name = re.sub(rf'\bconv{number}\.(?=weight)', f'conv{number}.conv.', name)
    name = name.replace('downsample.0.', 'downsample.conv.')
    return 'backbone.' + name.replace('downsample.1.', 'downsample.bn.')


def test_names_of_vfs_give_the_same_encoder_padded_with_zeros(tmp_path):
    model = small_encoder()
    named = {mmaction_name(name): array for name, array in torch_arrays(model).items()}
    assert 'backbone.layer2.0.downsample.bn.running_var' in named
    assert 'backbone.conv1.conv.weight' in named and 'backbone.layer1.0.conv2.bn.bias' in named
    named['img_head.projection_fcs.0.weight'] = np.zeros((2, 2), '<f4')
    path = write_arrays(
        tmp_path / 'epoch_500.pth', named, lambda body: mapping({'state_dict': body})
    )
    imported, unused = torch_weights.load_encoder(path, 'stage4')
    assert unused == ['state_dict.img_head.projection_fcs.0.weight']
    zero = resnet.resnet18(padding='zero', width=4)
    reference = tf.keras.Model(zero.input, zero.output['stage4'])
    reference.set_weights(tf.keras.Model(model.input, model.output['stage4']).get_weights())
    frames = tf.random.stateless_normal([1, 40, 48, 3], seed=[1, 1])
    np.testing.assert_allclose(imported(frames)['stage4'], reference(frames), atol=1e-6)


def test_safetensors_give_the_same_encoder(tmp_path):
    model = small_encoder()
    path = tmp_path / 'model.safetensors'
    path.write_bytes(safetensors.numpy.save(torch_arrays(model)))
    imported, unused = torch_weights.load_encoder(str(path), 'stage4')
    assert unused == []
    frames = tf.random.stateless_normal([1, 40, 48, 3], seed=[1, 1])
    np.testing.assert_allclose(imported(frames)['stage4'], model(frames)['stage4'], atol=1e-6)


def test_safetensors_of_every_type_and_damaged(tmp_path):
    # Written by hand, after the format's description.
    header = {
        'half': {'dtype': 'F16', 'shape': [2], 'data_offsets': [0, 4]},
        'brain': {'dtype': 'BF16', 'shape': [1, 1], 'data_offsets': [4, 6]},
    }
    data = np.array([0.5, -2], '<f2').tobytes() + struct.pack('<f', 1.5)[2:]
    length = len(json.dumps(header))
    contents = struct.pack('<Q', length) + json.dumps(header).encode() + data
    path = tmp_path / 'model.safetensors'
    path.write_bytes(contents)
    arrays = torch_files.read_checkpoint(str(path))
    assert arrays['half'].tolist() == [0.5, -2]
    assert arrays['brain'].astype(float).tolist() == [[1.5]]
    for damaged in (contents[:-1], contents.replace(b'[0, 4]', b'[0, 9]')):
        path.write_bytes(damaged)
        with pytest.raises(errors.UserError, match='model.safetensors is not a PyTorch checkpoint'):
            torch_files.read_checkpoint(str(path))


def test_padding_follows_the_classifier_unless_given(tmp_path):
    model = small_encoder()
    arrays = {**torch_arrays(model), 'fc.weight': np.zeros((10, 32), '<f4')}
    path = write_arrays(tmp_path / 'model.pth', arrays)
    zero = resnet.resnet18(padding='zero', width=4)
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


def test_arrays_beside_the_encoder_are_listed(tmp_path):
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


@pytest.mark.slow
def test_command(tmp_path):
    model = small_encoder()
    arrays = torch_arrays(model, 'model.encoder.model.')
    arrays['model.selfsim_fc.0.bias'] = np.zeros(2, '<f4')
    path = write_arrays(tmp_path / 'model.pth', arrays)
    command = [sys.executable, '-m', 'tools.import_torch', f'--checkpoint={path}']
    command.append(f'--output_dir={tmp_path / "saved"}')
    root = pathlib.Path(__file__).parents[2]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 'layer4.0 (15), layer4.1 (10), model.selfsim_fc (1)' in result.stderr
    loaded = saved_model.load(str(tmp_path / 'saved'))
    digest = hashlib.sha256((tmp_path / 'model.pth').read_bytes()).hexdigest()
    assert loaded.metadata['checkpoint'] == 'model.pth'
    assert loaded.metadata['checkpoint_sha256'] == digest
    frames = np.random.default_rng(0).integers(0, 256, (1, 40, 48, 3), np.uint8)
    expected = model(resnet.normalise_frames(frames, model.statistics))['stage3']
    np.testing.assert_allclose(
        loaded.features(frames), tf.math.l2_normalize(expected, -1), atol=2e-6
    )
    (tmp_path / 'model.pth').write_bytes(b'no')
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert result.returncode == 1 and 'error: ' in result.stderr
    assert 'Traceback' not in result.stderr
