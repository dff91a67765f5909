"""DAVIS on tiny data sets in its official layouts: figures by hand, files as of the toolkit."""

import csv
import hashlib
import json
import shutil

import numpy as np
from PIL import Image
import pytest

from stfc3_tf import errors
from stfc3_tf.benchmarks import davis, runner
from stfc3_tf.model import resnet
from stfc3_tf.propagation import codecs, propagator
from stfc3_tf.propagation import tracker as tracking
from stfc3_tf.storage import files, images, palette

FRAMES = 7


def square(left, top, side=16, number=1, height=48, width=80):
    mask = np.zeros((height, width), np.uint8)
    mask[top : top + side, left : left + side] = number
    return mask


def save_palette(path, mask):
    image = Image.fromarray(mask)
    image = image.convert('P')
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 759)
    image.putdata(mask.ravel().tolist())
    image.save(path)


def stripe(left, width, number):
    """Without corners, which bilinear enlargement rounds."""
    mask = np.zeros((48, 80), np.uint8)
    mask[:, left : left + width] = number
    return mask


def make_davis(root, sequences, year=2017, save=save_palette):
    """Write a data set; `sequences`: name -> list of masks. Frames are noise."""
    (root / 'ImageSets' / str(year)).mkdir(parents=True)
    (root / 'ImageSets' / str(year) / 'val.txt').write_text('\n'.join(sequences) + '\n')
    generator = np.random.default_rng(0)
    for name, masks in sequences.items():
        frames, annotations = (
            root / 'JPEGImages' / '480p' / name,
            root / 'Annotations' / '480p' / name,
        )
        frames.mkdir(parents=True)
        annotations.mkdir(parents=True)
        for number, mask in enumerate(masks):
            noise = generator.integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
            Image.fromarray(noise).save(frames / f'{number:05d}.jpg')
            save(annotations / f'{number:05d}.png', mask)
    return str(root)


def moving(step=2):
    return [square(8 + step * t, 16) for t in range(FRAMES)]


def evaluate(root, output, **settings):
    return runner.evaluate(
        davis.Davis(root, **settings), tracking.CopyFirst(), str(output), protocol='test'
    )


def test_identity_on_a_moving_square_by_hand(tmp_path):
    results = evaluate(make_davis(tmp_path / 'data', {'square': moving()}), tmp_path / 'out')
    # Frames 1 to 5 of 0 to 6: the overlap of squares of side 16 that are 2 t apart.
    scores = [(16 - 2 * t) / (16 + 2 * t) for t in range(1, 6)]
    metrics = results['metrics']
    np.testing.assert_allclose(metrics['J-Mean'], np.mean(scores))
    np.testing.assert_allclose(metrics['J-Recall'], np.mean(np.array(scores) > 0.5))
    np.testing.assert_allclose(metrics['J-Decay'], np.mean(scores[:2]) - np.mean(scores[3:]))
    np.testing.assert_allclose(metrics['J&F-Mean'], (metrics['J-Mean'] + metrics['F-Mean']) / 2)
    assert results['frames'] == FRAMES and results['task'] == 'davis'
    assert json.loads((tmp_path / 'out' / 'results.json').read_text()) == results


def test_means_run_over_objects_not_sequences(tmp_path):
    still, two = (
        [square(8, 16)] * FRAMES,
        [np.maximum(square(2, 2), square(40 + 4 * t, 20, number=2)) for t in range(FRAMES)],
    )
    results = evaluate(make_davis(tmp_path / 'data', {'one': still, 'two': two}), tmp_path / 'out')
    moved = np.mean([(16 - 4 * t) / (16 + 4 * t) if t < 4 else 0 for t in range(1, 6)])
    np.testing.assert_allclose(results['metrics']['J-Mean'], (1 + 1 + moved) / 3)
    np.testing.assert_allclose(results['sequences']['two']['metrics']['J-Mean'], (1 + moved) / 2)
    with open(tmp_path / 'out' / 'per-sequence_results-val.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['Sequence'] for row in rows] == ['one_1', 'two_1', 'two_2']
    assert float(rows[2]['J-Mean']) == pytest.approx(moved, abs=5e-4)


def test_a_subset_has_no_official_tables(tmp_path):
    root = make_davis(tmp_path / 'data', {'a': moving(), 'b': moving(1)})
    part = runner.evaluate(
        davis.Davis(root), tracking.CopyFirst(), str(tmp_path / 'out'), protocol='test', only=['a']
    )
    assert not list((tmp_path / 'out').glob('*.csv'))
    assert part['sequences_of'] == 2 and 'only 1 of 2 sequences' in runner.table(part)
    whole = evaluate(root, tmp_path / 'out')
    assert len(list((tmp_path / 'out').glob('*.csv'))) == 2
    assert 'test, 2 sequences' in runner.table(whole)
    # Tables of all sequences would not belong to the results of some.
    runner.evaluate(
        davis.Davis(root), tracking.CopyFirst(), str(tmp_path / 'out'), protocol='test', only=['a']
    )
    assert not list((tmp_path / 'out').glob('*.csv'))


def test_predictions_are_palette_images_under_the_official_names(tmp_path):
    two = [np.maximum(square(2, 2), square(40, 20, number=2))] * FRAMES
    evaluate(make_davis(tmp_path / 'data', {'two': two}), tmp_path / 'out')
    folder = tmp_path / 'out' / 'predictions' / 'two'
    assert sorted(path.name for path in folder.iterdir()) == [f'{t:05d}.png' for t in range(FRAMES)]
    image = Image.open(folder / '00003.png')
    assert image.mode == 'P'
    np.testing.assert_array_equal(np.array(image), two[0])
    assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]


def test_palette_of_davis():
    expected = {
        3: (128, 128, 0),
        4: (0, 0, 128),
        7: (128, 128, 128),
        8: (64, 0, 0),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    for index, colour in expected.items():
        assert tuple(palette.DAVIS[index]) == colour


def test_frames_in_full_resolution_are_scored_on_the_masks_of_480p(tmp_path):
    root = make_davis(tmp_path / 'data', {'square': moving()})
    official = evaluate(root, tmp_path / 'official')
    small = tmp_path / 'data' / 'JPEGImages' / '480p'
    for path in sorted(small.rglob('*.jpg')):
        large = small.parent / 'Full-Resolution' / path.relative_to(small)
        large.parent.mkdir(parents=True, exist_ok=True)
        frame = Image.open(path)
        frame.resize((2 * frame.width, 2 * frame.height)).save(large)
    shutil.rmtree(small)
    with pytest.raises(errors.UserError, match='480p'):
        evaluate(root, tmp_path / 'none')
    found = evaluate(root, tmp_path / 'out', frames='Full-Resolution')
    assert found['metrics'] == official['metrics']
    (written,) = (tmp_path / 'out').rglob('00003.png')
    assert Image.open(written).size == Image.open(next((small.parents[1]).rglob('00003.png'))).size


def test_2016_is_one_object_of_everything_that_is_not_zero(tmp_path):
    masks = [mask * 255 for mask in moving()]
    root = make_davis(
        tmp_path / 'data',
        {'square': masks},
        2016,
        lambda path, mask: Image.fromarray(mask).save(path),
    )
    results = evaluate(root, tmp_path / 'out', year=2016)
    np.testing.assert_allclose(
        results['metrics']['J-Mean'], np.mean([(16 - 2 * t) / (16 + 2 * t) for t in range(1, 6)])
    )
    with pytest.raises(errors.UserError, match='Davis.year'):
        evaluate(root, tmp_path / 'out')


def test_the_original_list_of_2016_is_read(tmp_path):
    root = make_davis(tmp_path / 'data', {'b': moving(), 'a': moving()}, 2016)
    (tmp_path / 'data' / 'ImageSets' / '2016' / 'val.txt').unlink()
    (tmp_path / 'data' / 'ImageSets' / '480p').mkdir()
    lines = [
        f'/JPEGImages/480p/{n}/{t:05d}.jpg /Annotations/480p/{n}/{t:05d}.png'
        for n in 'ba'
        for t in range(FRAMES)
    ]
    (tmp_path / 'data' / 'ImageSets' / '480p' / 'val.txt').write_text('\n'.join(lines))
    assert [s.name for s in davis.Davis(root, year=2016).sequences()] == ['b', 'a']


def test_void_pixels_do_not_count(tmp_path):
    masks = [square(8, 16) for _ in range(FRAMES)]
    for mask in masks[1:]:
        mask[16:24, 8:24] = 255
    results = evaluate(make_davis(tmp_path / 'data', {'a': masks}), tmp_path / 'out')
    assert results['metrics']['J-Mean'] == 1


def test_colour_masks_are_read_by_the_palette_or_refused(tmp_path):
    path = str(tmp_path / 'mask.png')
    mask = np.maximum(square(2, 2), square(40, 20, number=2))
    Image.fromarray(palette.DAVIS[mask]).save(path)
    np.testing.assert_array_equal(images.read_index_mask(path), mask)
    Image.fromarray(palette.DAVIS[mask] + np.uint8(1)).save(path)
    with pytest.raises(errors.UserError, match='palette'):
        images.read_index_mask(path)


def test_digests_are_taken_piece_by_piece(tmp_path, monkeypatch):
    contents = np.random.default_rng(0).bytes(10_007)
    path = tmp_path / 'shard'
    path.write_bytes(contents)
    monkeypatch.setattr(files, '_PIECE', 1000)
    # A file larger than memory cannot be read at once.
    monkeypatch.setattr(files, 'read_bytes', None)
    assert files.digest(str(path)) == hashlib.sha256(contents).digest()
    path.write_bytes(b'')
    for name, problem in ((path, 'is empty'), (tmp_path / 'absent', 'missing')):
        with pytest.raises(errors.UserError, match=f'{name.name}.*{problem}'):
            files.digest(str(name))


def damage_missing_mask(root):
    (root / 'Annotations/480p/b/00002.png').unlink()


def damage_empty_frame(root):
    (root / 'JPEGImages/480p/b/00003.jpg').write_bytes(b'')


def damage_cut_mask(root):
    path = root / 'Annotations/480p/b/00004.png'
    path.write_bytes(path.read_bytes()[:60])


def damage_cut_frame(root):
    path = root / 'JPEGImages/480p/b/00005.jpg'
    path.write_bytes(path.read_bytes()[:-400])


def damage_size(root):
    save_palette(root / 'Annotations/480p/b/00006.png', square(0, 0)[:40])


def damage_folder(root):
    for path in (root / 'JPEGImages/480p/b').iterdir():
        path.unlink()


@pytest.mark.parametrize(
    'damage,named',
    [
        (damage_missing_mask, '00002'),
        (damage_empty_frame, '00003.jpg is empty'),
        (damage_cut_mask, '00004.png'),
        (damage_cut_frame, '00005.jpg'),
        (damage_size, '00006.png is 80x40.*expected 80x48'),
        (damage_folder, '480p/b holds no'),
    ],
)
def test_bad_files_are_named_before_anything_is_computed(tmp_path, damage, named):
    root = make_davis(tmp_path / 'data', {'a': moving(), 'b': moving()})
    damage(tmp_path / 'data')
    with pytest.raises(errors.UserError, match=named):
        evaluate(root, tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_missing_list_says_what_to_set(tmp_path):
    with pytest.raises(errors.UserError, match='ImageSets/2017/val.txt.*Davis.year'):
        evaluate(str(tmp_path), tmp_path / 'out')


class BlockIdentities:
    """An encoder that knows every 8x8 block by its colour, and nothing else."""

    class cell_grid:
        first, stride = 3.5, 8

    def __init__(self, colours):
        self._colours = colours

    def features(self, frames):
        blocks = frames[:, 4::8, 4::8]
        return np.all(blocks[..., None, :] == self._colours, axis=-1).astype(np.float32)

    def settings(self):
        return {}


def test_masks_follow_blocks_that_move():
    colours = np.random.default_rng(0).choice(1 << 24, 60, replace=False)
    colours = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1).astype(np.uint8)
    picture = np.repeat(np.repeat(colours.reshape(6, 10, 3), 8, 0), 8, 1)
    frames = [np.roll(picture, 8 * t, axis=1) for t in range(4)]
    first = stripe(0, 16, 1) + stripe(40, 8, 2)
    tracker = tracking.PropagationTracker(
        BlockIdentities(colours),
        propagator.PropagationSettings(context=2, radius=3, top_k=3),
        tracking.InputSize(),
    )
    tracked = list(tracker.track(iter(frames), first, codecs.MaskCodec(), first.shape))
    for number, mask in enumerate(tracked):
        np.testing.assert_array_equal(mask, np.roll(first, 8 * number, axis=1))


@pytest.mark.parametrize(
    'codec',
    [
        codecs.MaskCodec(),
        codecs.MaskCodec('nearest', 'per_label', 'label'),
        codecs.MaskCodec('nearest', 'per_label', 'input'),
        codecs.MaskCodec('bilinear', 'per_pixel', 'input'),
    ],
)
def test_mask_codecs_return_blocks_they_were_given(codec):
    mask = stripe(8, 16, 1) + stripe(40, 8, 3)
    geometry = tracking.Geometry((48, 80), (96, 160), (6, 10), BlockIdentities.cell_grid)
    soft = codec.encode(mask, geometry)
    assert soft.shape == (6, 10, 4)
    np.testing.assert_array_equal(codec.decode(soft, geometry), mask)


@pytest.mark.parametrize('shrink', ['bilinear', 'nearest'])
@pytest.mark.parametrize('decide_at', ['label', 'input'])
def test_masks_stand_on_the_cells_of_an_encoder_without_padding(shrink, decide_at):
    codec = codecs.MaskCodec(shrink, decide_at=decide_at)
    padded = tracking.Geometry((480, 640), (240, 320), (30, 40), resnet.CellGrid(0.0, 8))
    inner = padded._replace(grid_size=(10, 20), cell_grid=resnet.CellGrid(81.0, 8))
    mask = np.zeros((480, 640), np.uint8)
    mask[200:260, 220:300], mask[230:290, 330:440] = 1, 2
    over_all, soft = codec.encode(mask, padded), codec.encode(mask, inner)
    np.testing.assert_array_equal(soft, over_all[10:20, 10:30])
    np.testing.assert_array_equal(codec.decode(soft, inner), codec.decode(over_all, padded))
    # An object at the border of the features goes on beyond it.
    soft[:, 0] = soft[:, 0, [1, 0, 2]]
    assert (codec.decode(soft, inner)[200:300, :150] == 1).all()


def test_exact_labels_are_means_around_the_true_centres_of_the_cells():
    geometry = tracking.Geometry((240, 320), (240, 320), (10, 20), resnet.CellGrid(81.0, 8))
    mask = (np.random.default_rng(0).random((240, 320)) < 0.3).astype(np.uint8)
    soft = codecs.MaskCodec('exact').encode(mask, geometry)
    assert soft.shape == (10, 20, 2)
    row, column = 81 + 8 * 3, 81 + 8 * 7
    around = mask[row - 4 : row + 5, column - 4 : column + 5]
    np.testing.assert_allclose(soft[3, 7], [1 - around.mean(), around.mean()], atol=1e-6)


@pytest.mark.parametrize('decide_at', ['label', 'input'])
def test_exact_masks_have_their_edges_between_the_true_centres(decide_at):
    # Centres at pixels 0, 8, 16, 24; the object begins half-way between the second and the third.
    geometry = tracking.Geometry((1, 25), (1, 25), (1, 4), resnet.CellGrid(0.0, 8))
    share = np.array([[0, 0, 1, 1]], np.float32)
    codec = codecs.MaskCodec('exact', decide_at=decide_at)
    mask = codec.decode(np.stack([1 - share, share], -1), geometry)
    assert np.flatnonzero(mask[0]).tolist() == list(range(13, 25))


def test_normalising_each_cell_lets_weak_labels_reach_as_far_as_strong_ones():
    # Two cells, background 0.9 against object 0.4: enlarged as they are, the background wins beyond
    # the middle; each cell stretched to [0, 1], they meet in the middle.
    soft = np.array([[[0.9, 0.1], [0.1, 0.5]]], np.float32)
    geometry = tracking.Geometry((1, 200), (1, 200), (1, 2), BlockIdentities.cell_grid)
    for normalise, first in (('none', 117), ('per_pixel', 100)):
        mask = codecs.MaskCodec('bilinear', normalise, 'input').decode(soft, geometry)
        # Between the centres, pixels 49.5 and 149.5, labels run linearly.
        assert np.flatnonzero(mask[0])[0] == first


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'LA', '1'])
def test_black_and_white_masks_of_any_kind(tmp_path, mode):
    mask = square(16, 8, number=255)
    Image.fromarray(mask).convert(mode).save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(images.read_index_mask(str(tmp_path / 'mask.png')), mask)


@pytest.mark.parametrize('grey', [0, 255])
@pytest.mark.parametrize('mode', ['RGBA', 'LA'])
def test_masks_in_the_alpha_channel(tmp_path, mode, grey):
    mask = square(16, 8, number=255)
    picture = np.stack([np.full_like(mask, grey)] * (len(mode) - 1) + [mask], -1)
    Image.fromarray(picture, mode).save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(images.read_index_mask(str(tmp_path / 'mask.png')), mask)


@pytest.mark.parametrize(
    'settings, named',
    [
        (dict(size=720), 'InputSize.size = 720 has no effect'),
        (
            dict(rule='square', size=320, long_side_multiple=64),
            'long_side_multiple = 64 has no effect',
        ),
    ],
)
def test_input_sizes_without_effect_are_refused(settings, named):
    with pytest.raises(errors.UserError, match=named):
        tracking.InputSize(**settings)


@pytest.mark.parametrize(
    'settings,given,expected',
    [
        (dict(), (480, 854), (480, 854)),
        (dict(rule='short_side', size=720), (480, 854), (720, 1281)),
        (dict(rule='short_side', size=480, long_side_multiple=64), (480, 854), (480, 832)),
        (dict(rule='short_side', size=480, long_side_multiple=64), (1920, 1080), (832, 480)),
        (dict(rule='square', size=320), (240, 320), (320, 320)),
    ],
)
def test_input_sizes_of_the_protocols(settings, given, expected):
    size = tracking.InputSize(**settings)
    assert size.of(*given) == expected
    assert size.resize(np.zeros((*given, 3), np.uint8)).shape == (*expected, 3)


@pytest.mark.parametrize(
    'make,named',
    [
        (lambda: tracking.InputSize(rule='short'), "InputSize.rule='short'"),
        (lambda: tracking.InputSize(rule='square'), 'InputSize.size'),
        (lambda: tracking.InputSize(rule='square', size=320.5), 'InputSize.size'),
        (lambda: tracking.InputSize(long_side_multiple=0), 'InputSize.long_side_multiple'),
        (lambda: tracking.InputSize(interpolation='cubic'), 'InputSize.interpolation'),
        (lambda: tracking.InputSize(long_side_multiple=64).of(48, 60), 'a frame of 48x60'),
        (lambda: codecs.MaskCodec(shrink='area'), 'MaskCodec.shrink'),
        (lambda: codecs.MaskCodec(normalise='per_class'), 'MaskCodec.normalise'),
        (lambda: codecs.PointCodec(sigma=0), 'PointCodec.sigma'),
        (lambda: codecs.PointCodec(top=0), 'PointCodec.top'),
        (lambda: codecs.PointCodec(reach=1.5), 'PointCodec.reach'),
        (lambda: davis.Davis('x', year=2015), '2015'),
    ],
)
def test_settings_that_do_not_exist_are_named(make, named):
    with pytest.raises(errors.UserError, match=named):
        make()


@pytest.mark.parametrize('name', ['../../outside', '../480p/bear', './bear'])
def test_no_name_of_a_list_leads_out_of_the_output_folder(tmp_path, name):
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    mask[8:16, 8:16] = 1
    data = tmp_path / 'data'
    for kind, image in (('JPEGImages', picture), ('Annotations', mask)):
        folder = data / kind / '480p' / name
        folder.parent.mkdir(parents=True, exist_ok=True)
        (data / kind / '480p').mkdir(exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(3):
            Image.fromarray(image).save(folder / f'{number:05d}.png')
    (data / 'ImageSets/2017').mkdir(parents=True)
    (data / 'ImageSets/2017/val.txt').write_text(f'{name}\n')
    output = tmp_path / 'deep' / 'er' / 'out'
    before = sorted(tmp_path.rglob('*'))
    runner.evaluate(davis.Davis(str(data)), tracking.CopyFirst(), str(output), protocol='test')
    new = set(tmp_path.rglob('*')) - set(before) - {output.parent, output.parent.parent, output}
    assert len(list(output.glob('predictions/**/*.png'))) == 3
    assert all(output in path.parents for path in new)
