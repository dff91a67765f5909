"""J-HMDB and BADJA on tiny data sets in their official layouts, figures by hand."""

import fractions
import io
import json

import av
import numpy as np
from PIL import Image
import pytest
import scipy.io

from stfc3_tf import errors
from stfc3_tf.benchmarks import badja, jhmdb, runner
from stfc3_tf.model import resnet
from stfc3_tf.propagation import codecs, tracker
from stfc3_tf.storage import files, images

HEIGHT, WIDTH, FRAMES = 48, 64, 5
# 15 joints on the border of a box of 30 x 40 pixels (diagonal 50), 0-based (x, y).
JOINTS = np.array(
    [(10 + 3 * i, 4) for i in range(7)] + [(10 + 3 * i, 44) for i in range(7)] + [(40, 20)], float
)


def write_video(path, frames):
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=30)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], 'yuv420p'
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())


def noise(count=FRAMES):
    return np.random.default_rng(0).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


def write_frames(folder, frames):
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames, 1):
        Image.fromarray(frame).save(folder / f'{number:05d}.png')


def make_jhmdb(root, clips, video=True):
    """Write clips: name -> (joints [time, 15, 2] 0-based, masks [time, height, width])."""
    (root / 'splits').mkdir(parents=True)
    (root / 'ReCompress_Videos' / 'wave').mkdir(parents=True)
    lines = [f'{name}.avi 2' for name in clips] + ['not_here.avi 1']
    (root / 'splits' / 'wave_test_split1.txt').write_text('\n'.join(lines))
    for name, (joints, masks) in clips.items():
        if video:
            write_video(root / 'ReCompress_Videos' / 'wave' / f'{name}.avi', noise(len(joints)))
        else:
            write_frames(root / 'Rename_Images' / 'wave' / name, noise(len(joints)))
        for kind, arrays in (
            ('joint_positions', {'pos_img': (joints + 1).transpose(2, 1, 0)}),
            ('puppet_mask', {'part_mask': masks.transpose(1, 2, 0)}),
        ):
            folder = root / kind / 'wave' / name
            folder.mkdir(parents=True)
            scipy.io.savemat(folder / f'{kind}.mat', arrays)
    return str(root)


def moving(step):
    """All joints move `step` pixels per frame to the left, the mask to the right."""
    joints = np.stack([JOINTS - [step * t, 0] for t in range(FRAMES)])
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for t in range(FRAMES):
        masks[t, 8:24, 8 + step * t : 24 + step * t] = 3
    return joints, masks


def evaluate(benchmark, output, **named):
    return runner.evaluate(benchmark, tracker.CopyFirst(), str(output), protocol='test', **named)


def test_pose_of_identity_by_hand(tmp_path):
    root = make_jhmdb(tmp_path / 'data', {'slow': moving(1), 'still': moving(0)})
    results = evaluate(jhmdb.JhmdbPose(root), tmp_path / 'out')
    # The unit is 0.6 * 50 = 30 pixels; `slow` is 1, 2, 3, 4 pixels off in the frames that count.
    assert results['sequences']['wave/slow']['metrics']['PCK@0.1'] == pytest.approx(3 / 4)
    assert results['metrics']['PCK@0.1'] == pytest.approx(7 / 8)
    assert results['metrics']['PCK@0.2'] == 1
    assert results['metrics']['PCK-visible@0.1'] == pytest.approx(7 / 8)
    assert results['metrics']['coverage'] == 1
    assert results['frames'] == 2 * FRAMES


class Loses:
    """Knows the truth of the first frame and loses joint 0 afterwards."""

    def settings(self):
        return {}

    def track(self, frames, first_label, codec, label_size):
        assert label_size == (HEIGHT, WIDTH)
        lost = first_label.copy()
        lost[0] = np.nan
        for number, frame in enumerate(frames):
            assert frame.shape == (HEIGHT, WIDTH, 3)
            yield lost if number else first_label


def test_losing_a_joint_is_free_by_crw_and_costs_by_visibility(tmp_path):
    root = make_jhmdb(tmp_path / 'data', {'still': moving(0)})
    results = runner.evaluate(
        jhmdb.JhmdbPose(root), Loses(), str(tmp_path / 'out'), protocol='test'
    )
    assert results['metrics']['PCK@0.1'] == 1
    assert results['metrics']['PCK-visible@0.1'] == pytest.approx(14 / 15)
    assert results['metrics']['coverage'] == pytest.approx(14 / 15)
    joints = scipy.io.loadmat(
        tmp_path / 'out/predictions/joint_positions/wave/still/joint_positions.mat'
    )['pos_img']
    assert joints.shape == (2, 15, FRAMES)
    np.testing.assert_allclose(joints[:, :, 0], JOINTS.T + 1)
    np.testing.assert_allclose(joints[:, 0, 1:], -1)


def test_joints_outside_the_image_are_not_asked_for(tmp_path):
    joints, masks = moving(0)
    joints[2:, 3] = -5, 10
    joints[0, 4] = 10, HEIGHT + 3
    results = evaluate(
        jhmdb.JhmdbPose(make_jhmdb(tmp_path / 'data', {'a': (joints, masks)})), tmp_path / 'out'
    )
    visible = np.sum(results['sequences']['wave/a']['counts']['visible']['counted'])
    # Joint 3 is inside in one of the four frames that count, joint 4 was never given.
    assert visible == 13 * 4 + 1


def test_masks_of_identity_by_hand(tmp_path):
    root = make_jhmdb(tmp_path / 'data', {'slow': moving(2), 'still': moving(0)})
    results = evaluate(jhmdb.JhmdbMasks(root), tmp_path / 'out')
    slow = np.mean([(16 - 2 * t) / (16 + 2 * t) for t in range(1, FRAMES)])
    assert results['sequences']['wave/slow']['metrics']['J-Mean'] == pytest.approx(slow)
    assert results['metrics']['J-Mean'] == pytest.approx((1 + slow) / 2)
    parts = scipy.io.loadmat(tmp_path / 'out/predictions/puppet_mask/wave/slow/puppet_mask.mat')[
        'part_mask'
    ]
    assert parts.shape == (HEIGHT, WIDTH, FRAMES) and parts.max() == 1


def test_frame_folders_are_read_where_there_is_no_video(tmp_path):
    root = make_jhmdb(tmp_path / 'data', {'still': moving(0)}, video=False)
    (clip,) = jhmdb.JhmdbPose(root).clips()
    np.testing.assert_array_equal(np.stack(list(clip.frames(FRAMES))), noise())
    assert evaluate(jhmdb.JhmdbPose(root), tmp_path / 'out')['metrics']['PCK@0.1'] == 1


def test_the_lists_say_train_and_test(tmp_path):
    root = make_jhmdb(tmp_path / 'data', {'b': moving(0), 'a': moving(0)})
    assert [s.name for s in jhmdb.JhmdbPose(root).sequences()] == ['wave/b', 'wave/a']
    with pytest.raises(errors.UserError, match='wave/not_here'):
        evaluate(jhmdb.JhmdbPose(root, subset='train'), tmp_path / 'out')
    with pytest.raises(errors.UserError, match='_test_split2.txt'):
        jhmdb.JhmdbPose(root, split=2).sequences()


@pytest.mark.parametrize('line', ['a.avi 3', 'a.mp4 2', 'a.avi'])
def test_a_line_of_a_list_that_is_none_is_quoted(tmp_path, line):
    root = make_jhmdb(tmp_path / 'data', {'a': moving(0)})
    (tmp_path / 'data/splits/wave_test_split1.txt').write_text(f'b.avi 0\n{line}\n')
    with pytest.raises(errors.UserError, match=f"wave_test_split1.txt: '{line}' is not <clip>.avi"):
        jhmdb.JhmdbPose(root).sequences()


@pytest.mark.parametrize('setting', [{'split': 4}, {'split': 0}, {'subset': 'val'}])
def test_splits_that_do_not_exist_are_named(tmp_path, setting):
    with pytest.raises(errors.UserError, match=r'the split must be 1, 2 or 3'):
        jhmdb.JhmdbPose(make_jhmdb(tmp_path, {'a': moving(0)}), **setting).sequences()


def test_frames_behind_the_last_annotation_are_left_out_with_a_warning(tmp_path, caplog):
    root = make_jhmdb(tmp_path / 'data', {'a': moving(0)})
    write_video(tmp_path / 'data/ReCompress_Videos/wave/a.avi', noise(FRAMES + 2))
    results = evaluate(jhmdb.JhmdbPose(root), tmp_path / 'out')
    assert results['frames'] == FRAMES
    assert 'the last 2 of 7 frames have no annotation' in caplog.text


@pytest.mark.parametrize('kind', [jhmdb.JhmdbPose, jhmdb.JhmdbMasks])
def test_clips_that_are_not_asked_for_may_lack_their_footage(tmp_path, kind):
    root = make_jhmdb(tmp_path / 'data', {'a': moving(0), 'b': moving(0)})
    (tmp_path / 'data/ReCompress_Videos/wave/b.avi').unlink()
    results = evaluate(kind(root), tmp_path / 'out', only=['wave/a'])
    assert list(results['sequences']) == ['wave/a'] and results['sequences_of'] == 2
    with pytest.raises(errors.UserError, match='the frames of wave/b, or .*b.avi'):
        evaluate(kind(root), tmp_path / 'out')


@pytest.mark.parametrize('kind', [jhmdb.JhmdbPose, jhmdb.JhmdbMasks])
def test_frames_are_preferred_to_videos_and_the_results_say_so(tmp_path, kind):
    root = make_jhmdb(tmp_path / 'data', {'a': moving(0), 'b': moving(0)})
    write_frames(tmp_path / 'data/Rename_Images/wave/a', noise())
    results = evaluate(kind(root), tmp_path / 'out')
    found = {name: result['footage'] for name, result in results['sequences'].items()}
    assert found == {'wave/a': 'Rename_Images', 'wave/b': 'ReCompress_Videos'}
    (clip, _) = kind(root).clips()
    np.testing.assert_array_equal(np.stack(list(clip.frames(None))), noise())


def test_a_check_decodes_every_frame_once(tmp_path, monkeypatch):
    root = make_jhmdb(tmp_path / 'data', {'a': moving(0)}, video=False)
    read, real = [], images.read_frame
    monkeypatch.setattr(images, 'read_frame', lambda path: read.append(path) or real(path))
    assert jhmdb.JhmdbPose(root).sequences()[0].check() == FRAMES
    assert len(read) == len(set(read)) == FRAMES


def damage_count(root):
    write_video(root / 'ReCompress_Videos/wave/a.avi', noise(FRAMES - 1))


def damage_video(root):
    (root / 'ReCompress_Videos/wave/a.avi').write_bytes(b'RIFF' + bytes(100))


def damage_size(root):
    """Write a video whose fourth frame is smaller, as motion JPEG allows."""
    with av.open(str(root / 'ReCompress_Videos/wave/a.avi'), 'w') as container:
        stream = container.add_stream('mjpeg', rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, 'yuvj420p'
        for number, frame in enumerate(noise()):
            contents = io.BytesIO()
            size = (WIDTH // 2, HEIGHT // 2) if number == 3 else (WIDTH, HEIGHT)
            Image.fromarray(frame).resize(size).save(contents, format='JPEG')
            packet = av.Packet(contents.getvalue())
            packet.pts = packet.dts = number
            packet.time_base, packet.stream = fractions.Fraction(1, 30), stream
            container.mux(packet)


def damage_frame(root):
    path = root / 'ReCompress_Videos/wave/a.avi'
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = packets[3]
    contents = bytearray(path.read_bytes())
    # An AVI chunk has 8 bytes of header; the start of the frame itself stays intact.
    start = position + 8 + size // 3
    contents[start : start + size // 2] = bytes(size // 2)
    path.write_bytes(contents)


def damage_mat(root):
    (root / 'joint_positions/wave/a/joint_positions.mat').write_bytes(b'not MATLAB' * 50)


def damage_array(root):
    scipy.io.savemat(
        root / 'joint_positions/wave/a/joint_positions.mat', {'pos_world': np.zeros((2, 15, 5))}
    )


def damage_joints(root):
    scipy.io.savemat(
        root / 'joint_positions/wave/a/joint_positions.mat', {'pos_img': np.zeros((2, 14, 5))}
    )


@pytest.mark.parametrize(
    'damage,named',
    [
        (damage_count, 'a.avi: 4 frames can be read.*describes 5'),
        (damage_video, 'a.avi'),
        (damage_size, 'a.avi: frame 4 is 32x24.*expected 64x48'),
        (damage_frame, 'a.avi: corrupt at 0.1'),
        (damage_mat, 'joint_positions.mat is not'),
        (damage_array, "'pos_img'"),
        (damage_joints, r'\(2, 14, 5\)'),
    ],
)
def test_bad_pose_files_are_named(tmp_path, damage, named):
    root = make_jhmdb(tmp_path / 'data', {'a': moving(0)})
    damage(tmp_path / 'data')
    with pytest.raises(errors.UserError, match=named):
        evaluate(jhmdb.JhmdbPose(root), tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_an_empty_first_puppet_mask_is_named(tmp_path):
    joints, masks = moving(0)
    masks[0] = 0
    with pytest.raises(errors.UserError, match='puppet_mask.mat: the first mask is empty'):
        evaluate(
            jhmdb.JhmdbMasks(make_jhmdb(tmp_path / 'data', {'a': (joints, masks)})),
            tmp_path / 'out',
        )


# BADJA.

FULL = (480, 640)
ANNOTATED = (1, 3, 5)


def make_badja(root, step=30):
    """Joints on a frame ten times as large; they move `step` of its pixels down each time."""
    frames = root / 'davis/JPEGImages/480p/cow'
    masks = root / 'davis/Annotations/480p/cow'
    frames.mkdir(parents=True)
    masks.mkdir(parents=True)
    for number, frame in enumerate(noise(7)):
        Image.fromarray(frame).save(frames / f'{number:05d}.jpg')
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[8:24, 8:24] = 255
        Image.fromarray(mask).save(masks / f'{number:05d}.png')
    entries = []
    for index, number in enumerate(ANNOTATED):
        visible = np.zeros(37, bool)
        visible[[8, 9, 10 + index]] = True
        joints = np.where(visible[:, None], [200 + step * index, 300], 0)
        entries.append(
            {
                'image_path': f'DAVIS/JPEGImages/Full-Resolution/cow/{number:05d}.jpg',
                'segmentation_path': f'DAVIS/Annotations/Full-Resolution/cow/{number:05d}.png',
                'joints': joints.tolist(),
                'visibility': visible.tolist(),
            }
        )
    (root / 'joint_annotations').mkdir()
    (root / 'joint_annotations/cow.json').write_text(json.dumps(entries))
    return badja.Badja(str(root), davis_dir=str(root / 'davis'), frames='480p', full_size=FULL)


# Names that lead out of a folder, are long, or cannot be on some file system.
NAMES = ['../still', 'x' * 200, 'nul', 'COM1.a', 'two: parts?', 'end.']


def assert_all_inside(output, ending):
    """One prediction, under a name that every file system can have, and nothing beside `output`."""
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    (path,) = output.glob(f'predictions/**/*{ending}')
    for part in path.relative_to(output).parts:
        assert len(part) < 200 and not set(part) & set('<>:"|?*\\') and part[-1] not in '. '
        assert part.split('.')[0].lower() not in ('nul', 'com1')


@pytest.mark.parametrize('name', NAMES)
def test_no_name_of_a_clip_leads_out_of_the_output_folder(tmp_path, name):
    root = make_jhmdb(tmp_path / 'data', {name: moving(0)}, video=False)
    output = tmp_path / 'deep' / 'out'
    results = evaluate(jhmdb.JhmdbPose(root), output)
    assert list(results['sequences']) == [f'wave/{name}']
    assert_all_inside(output, 'joint_positions.mat')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['data', 'deep']


@pytest.mark.parametrize('name', NAMES[1:])
def test_no_name_of_badja_is_one_that_a_file_system_cannot_have(tmp_path, name):
    benchmark = make_badja(tmp_path / 'data')
    (tmp_path / 'data/joint_annotations/cow.json').rename(
        tmp_path / f'data/joint_annotations/{name}.json'
    )
    output = tmp_path / 'deep' / 'out'
    assert list(evaluate(benchmark, output)['sequences']) == [name]
    assert_all_inside(output, '.json')


def test_badja_frames_are_those_of_one_video(tmp_path):
    benchmark = make_badja(tmp_path)
    folder = tmp_path / 'davis/JPEGImages/480p/cow'
    expected = evaluate(benchmark, tmp_path / 'out')['metrics']
    Image.new('RGB', (WIDTH, HEIGHT)).save(folder / '00002_mask.jpg')
    results = evaluate(benchmark, tmp_path / 'out')
    assert (results['frames'], results['metrics']) == (5, expected)
    for number in range(7):
        Image.new('L', (WIDTH, HEIGHT)).save(folder / f'{number:05d}.png')
    with pytest.raises(errors.UserError, match='cow holds pictures of several kinds'):
        evaluate(benchmark, tmp_path / 'again')


def test_badja_numbers_without_leading_zeros_are_in_order(tmp_path):
    benchmark = make_badja(tmp_path)
    expected = evaluate(benchmark, tmp_path / 'out')['metrics']
    for kind, ending in (('JPEGImages', 'jpg'), ('Annotations', 'png')):
        for path in (tmp_path / 'davis' / kind / '480p/cow').iterdir():
            path.rename(path.with_name(f'{int(path.stem) + 8}.{ending}'))  # 8, 9, 10, ...
    path = tmp_path / 'joint_annotations/cow.json'
    entries = json.loads(path.read_text())
    for entry, number in zip(entries, ANNOTATED):
        for key in ('image_path', 'segmentation_path'):
            entry[key] = entry[key].replace(f'{number:05d}', str(number + 8))
    path.write_text(json.dumps(entries))
    assert evaluate(benchmark, tmp_path / 'again')['metrics'] == expected
    path.write_text(json.dumps([*entries, entries[0]]))
    with pytest.raises(errors.UserError, match='cow.json annotates the frame 9 twice'):
        evaluate(benchmark, tmp_path / 'twice')


def test_badja_of_identity_by_hand(tmp_path):
    results = evaluate(make_badja(tmp_path), tmp_path / 'out')
    # The mask is 160 x 160 pixels of the full frame: right within 32. Joints 8 and 9 are given and
    # scored twice, 30 and 60 pixels off; joints 11 and 12 were not given.
    assert results['metrics']['PCK@0.2'] == pytest.approx(1 / 2)
    assert results['sequences']['cow']['counts'] == {'correct': 2, 'visible': 4, 'placed': 4}
    assert results['frames'] == 5  # 1 to 5
    written = json.loads((tmp_path / 'out/predictions/joint_annotations/cow.json').read_text())
    assert len(written) == 3 and written[2]['joints'][8] == [200, 300]
    assert [i for i, v in enumerate(written[1]['visibility']) if v] == [8, 9, 10]


def test_badja_leaves_out_what_its_reader_leaves_out(tmp_path):
    benchmark = make_badja(tmp_path)
    path = tmp_path / 'joint_annotations/cow.json'
    entries = json.loads(path.read_text())
    for entry in entries:
        for joint in (0, 34):  # the chin among them
            entry['visibility'][joint], entry['joints'][joint] = True, [100, 100]
    path.write_text(json.dumps(entries))
    results = evaluate(benchmark, tmp_path / 'out')
    assert results['sequences']['cow']['counts'] == {'correct': 2, 'visible': 4, 'placed': 4}


def test_badja_names_what_is_missing(tmp_path):
    benchmark = make_badja(tmp_path)
    (tmp_path / 'davis/JPEGImages/480p/cow/00003.jpg').unlink()
    with pytest.raises(errors.UserError, match='lacks the annotated frames 00003'):
        evaluate(benchmark, tmp_path / 'out')
    (tmp_path / 'joint_annotations/cow.json').write_text('[{"joints": []}]')
    with pytest.raises(errors.UserError, match='cow.json'):
        evaluate(benchmark, tmp_path / 'out')


def test_badja_without_a_joint_to_score_is_refused(tmp_path):
    benchmark = make_badja(tmp_path)
    path = tmp_path / 'joint_annotations/cow.json'
    entries = json.loads(path.read_text())
    for entry in entries[1:]:
        entry['visibility'][8] = entry['visibility'][9] = False
    path.write_text(json.dumps(entries))
    with pytest.raises(errors.UserError, match='cow.json: no joint that is visible in the first'):
        evaluate(benchmark, tmp_path / 'out')


def test_badja_leaves_out_what_is_not_on_davis(tmp_path, caplog):
    benchmark = make_badja(tmp_path)
    annotation = json.loads((tmp_path / 'joint_annotations/cow.json').read_text())
    for entry in annotation:
        for key in ('image_path', 'segmentation_path'):
            entry[key] = entry[key].replace('DAVIS/', 'extra_videos/').replace('cow', 'tiger')
    (tmp_path / 'joint_annotations/tiger.json').write_text(json.dumps(annotation))
    with caplog.at_level('INFO', logger='absl'):
        assert [sequence.name for sequence in benchmark.sequences()] == ['cow']
    assert 'not sequences of DAVIS: tiger.' in caplog.text


@pytest.mark.parametrize(
    'changes',
    [
        {'threshold': 0},
        {'threshold': '0.2'},
        {'full_size': (1080,)},
        {'full_size': (1080, 0)},
        {'full_size': 1080},
        {'frames': ''},
    ],
)
def test_badja_settings_that_mean_nothing_are_named(changes):
    with pytest.raises(errors.UserError, match=f'Badja.{list(changes)[0]}'):
        badja.Badja('somewhere', **changes)


# Key points to label maps and back.


@pytest.mark.parametrize(
    'codec,tolerance',
    [(codecs.PointCodec('exact', sigma=0.75), 0.1), (codecs.PointCodec('crw'), 8 * 0.7)],
)
def test_points_come_back(codec, tolerance):
    class grid:
        first, stride = 0.0, 8

    # A label image twice the encoder's input: a cell is 16 of its pixels.
    geometry = tracker.Geometry((480, 640), (240, 320), (30, 40), grid)
    points = np.array([[100.3, 200.9], [333.0, 241.2], [np.nan, np.nan]])
    found = codec.decode(codec.encode(points, geometry), geometry)
    assert np.abs(found[:2] - points[:2]).max() < 2 * tolerance
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize('convention', ['crw', 'exact'])
def test_points_stand_on_the_cells_of_an_encoder_without_padding(convention):
    codec = codecs.PointCodec(convention)
    padded = tracker.Geometry((480, 640), (240, 320), (30, 40), resnet.CellGrid(0.0, 8))
    inner = padded._replace(grid_size=(10, 20), cell_grid=resnet.CellGrid(80.0, 8))
    points = np.array([[300.0, 200.0], [180.0, 290.0], [20.0, 200.0]])
    over_all, found = codec.encode(points, padded), codec.encode(points, inner)
    np.testing.assert_allclose(found, over_all[10:20, 10:30], atol=1e-6)
    there, here = codec.decode(over_all, padded), codec.decode(found, inner)
    np.testing.assert_allclose(here[:2], there[:2], atol=1e-6)
    assert np.isnan(here[2]).all()  # There is no feature.


def test_joint_files_round_trip(tmp_path):
    joints = np.stack([JOINTS, JOINTS + 1])
    jhmdb.write_joints(str(tmp_path / 'a' / 'joints.mat'), joints)
    stored = files.read_mat(str(tmp_path / 'a' / 'joints.mat'), 'pos_img', 3)
    np.testing.assert_allclose(stored[:, 3, 1] - 1, JOINTS[3] + 1)
