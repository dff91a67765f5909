"""300VW: reading, cropping, scoring and writing, on small videos whose errors are known by hand."""

import json

import av
import cv2
import numpy as np
import pytest

from stfc3_tf import errors
from stfc3_tf.benchmarks import runner, vw300
from stfc3_tf.propagation import codecs, propagator
from stfc3_tf.propagation import tracker as tracking

FRAMES = 6
HEIGHT, WIDTH = 96, 128


def face(shift=(0.0, 0.0)):
    """68 points within a box of 40 x 32 pixels, outer eye corners 20 apart."""
    points = np.random.default_rng(0).uniform((40, 30), (80, 62), (68, 2))
    points[0], points[1] = (40, 30), (80, 62)
    points[36], points[45] = (50, 40), (70, 40)
    return points + shift


def frames(count=FRAMES):
    texture = np.random.default_rng(1).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    still = cv2.resize(texture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return [np.roll(still, 2 * number, axis=1) for number in range(count)]


def write_annotations(folder, truth):
    for number, points in enumerate(truth, 1):
        vw300.write_landmarks(str(folder / 'annot' / f'{number:06d}.pts'), points)


def write_video(path, images):
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=25)
        stream.width, stream.height, stream.bit_rate = WIDTH, HEIGHT, 4_000_000
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
        container.mux(stream.encode())


@pytest.fixture
def data(tmp_path):
    """Video 001, a film, and 002, pictures; the face moves 2 pixels per frame to the right."""
    truth = [face((2.0 * number, 0.0)) for number in range(FRAMES)]
    for name in ('001', '002'):
        write_annotations(tmp_path / name, truth)
    write_video(tmp_path / '001' / 'vid.avi', frames())
    (tmp_path / '002' / 'frames').mkdir()
    for number, image in enumerate(frames(), 1):
        cv2.imwrite(str(tmp_path / '002' / 'frames' / f'{number}.png'), image[..., ::-1])
    return tmp_path


class Known:
    """Answers with given points, in pixels of the crop."""

    def __init__(self, answers):
        self._answers = answers

    def settings(self):
        return {'model': 'known'}

    def track(self, images, first_label, codec, label_size):
        del codec, label_size
        for number, _ in enumerate(images):
            yield first_label + self._answers[number]


class Blocks:
    """Mean colours of 8x8 pixels and their neighbours: enough to follow a moving texture."""

    cell_grid = type('Grid', (), {'first': 3.5, 'stride': 8})

    def features(self, images):
        small = [cv2.resize(image, (40, 40), interpolation=cv2.INTER_AREA) for image in images]
        small = np.stack(small).astype(np.float32)
        near = [np.roll(small, (y, x), (1, 2)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        maps = np.concatenate(near, -1)
        maps -= maps.mean((1, 2), keepdims=True)
        return maps / np.linalg.norm(maps, axis=-1, keepdims=True)


def evaluate(benchmark, tracker, output, **options):
    return runner.evaluate(benchmark, tracker, str(output), protocol='test', **options)


# The .pts format


def test_landmarks_are_one_based_in_the_file(tmp_path):
    path = tmp_path / '000001.pts'
    lines = '\n'.join(f'{n + 0.5} {n + 10}' for n in range(68))
    path.write_text(f'version: 1\nn_points: 68\n{{\n{lines}\n}}\n')
    expected = np.stack([np.arange(68) - 0.5, np.arange(68) + 9], axis=-1)
    np.testing.assert_array_equal(vw300.read_landmarks(str(path)), expected)


def test_landmarks_survive_writing_and_reading(tmp_path):
    path = str(tmp_path / 'out' / '000001.pts')
    vw300.write_landmarks(path, face())
    np.testing.assert_allclose(vw300.read_landmarks(path), face(), atol=5.1e-4)


@pytest.mark.parametrize(
    'text, problem',
    [
        ('', 'is empty'),
        ('version: 1\n{\n1 2\n3 4\n}', 'holds 2 points'),
        ('version: 1\n{\n1 two\n}', 'two'),
        ('version: 1\n{\n' + 'nan 1\n' * 68 + '}', 'all finite'),
    ],
)
def test_broken_annotations_are_named(tmp_path, text, problem):
    path = tmp_path / '000001.pts'
    path.write_text(text)
    with pytest.raises(errors.UserError, match=f'000001.pts.*{problem}'):
        vw300.read_landmarks(str(path))


# The crop


def test_crop_is_centred_on_the_landmarks_box():
    crop = vw300.FaceCrop.around(face(), 2.0, 320)
    # The box spans x 40..80 and y 30..62, its longer side is 40.
    assert crop.side == 80
    np.testing.assert_allclose(crop.to_frame(np.array([159.5, 159.5])), [60, 46], atol=0.5)


@pytest.mark.parametrize('scale', [1.5, 2.0, 6.0])
def test_crop_coordinates_and_pixels_agree(scale):
    crop = vw300.FaceCrop.around(face(), scale, 320)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    ramp = np.stack([x, y, x], axis=-1)
    seen = crop.of(ramp)
    inside = np.array([[50.0, 40.0], [60.0, 46.0], [71.3, 55.8]])
    points = crop.from_frame(inside)
    np.testing.assert_allclose(crop.to_frame(points), inside, atol=1e-9)
    columns, rows = np.float32(points.T)
    found = cv2.remap(seen, columns[:, None], rows[:, None], cv2.INTER_LINEAR)[:, 0, :2]
    np.testing.assert_allclose(found, inside, atol=0.02)


def test_crop_outside_the_frame_repeats_its_border():
    seen = vw300.FaceCrop(left=-10, top=-4, side=16, size=16).of(frames()[0])
    np.testing.assert_array_equal(seen[4:, 10:], frames()[0][:12, :6])
    np.testing.assert_array_equal(seen[:4, 12], np.repeat(frames()[0][:1, 2], 4, axis=0))


# Scores


def test_copying_the_first_landmarks_errs_by_the_motion(data, tmp_path):
    benchmark = vw300.Faces(str(data))
    results = evaluate(benchmark, tracking.CopyFirst(), tmp_path / 'out')
    # 2, 4, ... 10 pixels of the frame, a mean of 6; the crop is 80 pixels wide, enlarged 4 times.
    for figures in (results['metrics'], results['sequences']['001']['metrics']):
        assert figures['RMSE'] == pytest.approx(24, abs=0.01)
        assert figures['Point-to-point'] == pytest.approx(24, abs=0.01)
        assert figures['NME-interocular'] == pytest.approx(6 / 20, abs=1e-3)
        assert figures['NME-box'] == pytest.approx(6 / np.hypot(40, 32), abs=1e-3)
        assert figures['Failures@0.08'] == 1 and figures['AUC@0.08'] == 0
    assert results['frames'] == 2 * FRAMES


def test_errors_of_a_known_answer(data, tmp_path):
    answers = np.array([[8.0 * n, 0] for n in range(FRAMES)])[:, None] + np.zeros((68, 2))
    answers[3, :17] += (0.0, 16.0)
    results = evaluate(vw300.Faces(str(data)), Known(answers), tmp_path / 'out')
    # One of five frames has a quarter of its points 16 pixels off: mean 4, root mean square 8.
    assert results['metrics']['RMSE'] == pytest.approx(8 / 5, abs=0.01)
    assert results['metrics']['Point-to-point'] == pytest.approx(4 / 5, abs=0.01)
    assert results['metrics']['NME-interocular'] == pytest.approx(4 / 80 / 5, abs=1e-4)
    assert results['metrics']['Failures@0.08'] == 0
    assert results['metrics']['AUC@0.08'] == pytest.approx(1 - (4 / 80 / 5) / 0.08, abs=2e-3)
    curve = np.loadtxt(tmp_path / 'out' / 'cumulative_error.csv', delimiter=',', skiprows=1)
    assert curve[curve[:, 0] == 0.04, 1] == pytest.approx(0.8)
    assert curve[curve[:, 0] == 0.06, 1] == pytest.approx(1)


def test_predictions_are_written_in_pixels_of_the_frames(data, tmp_path):
    answers = np.array([[8.0 * n, 0] for n in range(FRAMES)])[:, None] + np.zeros((68, 2))
    evaluate(vw300.Faces(str(data)), Known(answers), tmp_path / 'out')
    for name in ('001', '002'):
        written = sorted((tmp_path / 'out' / 'predictions' / name).iterdir())
        assert [path.name for path in written] == [f'{n:06d}.pts' for n in range(1, FRAMES + 1)]
        for number, path in enumerate(written):
            np.testing.assert_allclose(
                vw300.read_landmarks(str(path)), face((2.0 * number, 0.0)), atol=2e-3
            )


def test_a_lost_point_stays_where_it_was(data, tmp_path):
    answers = np.zeros((FRAMES, 68, 2))
    answers[1:, 5] = (12.0, 0.0)
    answers[3:, 5] = np.nan
    results = evaluate(vw300.Faces(str(data)), Known(answers), tmp_path / 'out', only=['001'])
    assert results['sequences']['001']['metrics']['Lost'] == pytest.approx(3 / (5 * 68))
    written = tmp_path / 'out' / 'predictions' / '001'
    kept = [vw300.read_landmarks(str(written / f'{n:06d}.pts'))[5] for n in (3, 6)]
    np.testing.assert_allclose(kept[0], kept[1])
    np.testing.assert_allclose(kept[1], face()[5] + (3, 0), atol=1e-3)


def test_only_annotated_frames_are_scored(data, tmp_path):
    for number in (1, 3, 5):
        (data / '001' / 'annot' / f'{number:06d}.pts').unlink()
    results = evaluate(vw300.Faces(str(data)), tracking.CopyFirst(), tmp_path / 'out', only=['001'])
    record = json.loads((tmp_path / 'out' / 'sequences' / '001.json').read_text())
    assert record['per_frame']['frame'] == [4, 6]
    assert results['metrics']['RMSE'] == pytest.approx(4 * (4 + 8) / 2, abs=0.01)


@pytest.mark.parametrize('convention, sigma, pixels', [('crw', 0.5, 14), ('exact', 0.75, 10)])
def test_propagation_follows_a_moving_face(data, tmp_path, convention, sigma, pixels):
    codec = codecs.PointCodec(convention=convention, sigma=sigma)
    settings = propagator.PropagationSettings(context=4, radius=5.0)
    tracker = tracking.PropagationTracker(Blocks(), settings, tracking.InputSize())
    results = evaluate(vw300.Faces(str(data), codec=codec), tracker, tmp_path / 'out', only=['002'])
    assert results['metrics']['Point-to-point'] < pixels
    assert results['settings']['crop_scale'] == 2.0


# Bad input


def test_categories_are_the_challenges():
    assert [len(set(vw300.CATEGORIES[number])) for number in (1, 2, 3)] == [31, 19, 14]
    assert len(set(sum(vw300.CATEGORIES.values(), ()))) == 64


def test_missing_videos_of_a_category_are_named(data):
    with pytest.raises(
        errors.UserError, match='lacks the video 114. Missing of category 1: 114, 124'
    ):
        evaluate(vw300.Faces(str(data), category=1), tracking.CopyFirst(), data / 'out')


def test_videos_that_are_not_asked_for_may_be_missing(data, tmp_path):
    (data / '002').rename(data / '124')
    benchmark = vw300.Faces(str(data), category=1)
    results = evaluate(benchmark, tracking.CopyFirst(), tmp_path / 'out', only=['124'])
    assert list(results['sequences']) == ['124'] and results['sequences_of'] == 31
    assert not (tmp_path / 'out' / 'cumulative_error.csv').exists()


def test_pictures_of_different_size_are_named(data):
    cv2.imwrite(str(data / '002' / 'frames' / '4.png'), frames()[0][:90])
    with pytest.raises(errors.UserError, match='002: frame 4 is 128x90.*expected 128x96'):
        vw300.Faces(str(data)).sequences()[1].check()


def test_a_folder_without_videos_is_named(tmp_path):
    with pytest.raises(errors.UserError, match='annot/000001.pts'):
        vw300.Faces(str(tmp_path)).sequences()


def test_a_video_shorter_than_its_annotations_is_named(data):
    write_annotations(data / '001', [face()] * (FRAMES + 2))
    sequence = vw300.Faces(str(data)).sequences()[0]
    with pytest.raises(errors.UserError, match='000008.pts annotates frame 8.*ends with frame 6'):
        sequence.check()


def test_a_broken_video_is_named(data):
    (data / '001' / 'vid.avi').write_bytes(b'not a video' * 100)
    with pytest.raises(errors.UserError, match='001/vid.avi'):
        vw300.Faces(str(data)).sequences()[0].check()


def test_a_video_without_footage_is_named(data):
    (data / '001' / 'vid.avi').unlink()
    with pytest.raises(errors.UserError, match='001 has neither a video vid'):
        vw300.Faces(str(data)).sequences()[0].check()


def test_frames_in_a_folder_come_in_the_order_of_their_numbers(tmp_path):
    write_annotations(tmp_path / '001', [face()] * 11)
    (tmp_path / '001' / 'frames').mkdir()
    for number, image in enumerate(frames(11), 1):
        cv2.imwrite(str(tmp_path / '001' / 'frames' / f'{number}.png'), image[..., ::-1])
    crop = vw300.FaceCrop.around(face(), 2.0, 320)
    seen = []

    class Watching(Known):
        def track(self, images, first_label, codec, label_size):
            for image in images:
                seen.append(image)
                yield first_label

    evaluate(vw300.Faces(str(tmp_path)), Watching(None), tmp_path / 'out')
    np.testing.assert_array_equal(seen, [crop.of(image) for image in frames(11)])


def test_a_missing_picture_and_a_second_annotation_are_named(data):
    (data / '002/annot/1.pts').write_bytes((data / '002/annot/000001.pts').read_bytes())
    with pytest.raises(errors.UserError, match='1.pts and .*1.pts annotate the same frame'):
        vw300.Faces(str(data)).sequences()[1].check()
    (data / '002/annot/1.pts').unlink()
    (data / '002/frames/3.png').unlink()
    with pytest.raises(errors.UserError, match='4.png follows the frame 2: a frame is missing'):
        vw300.Faces(str(data)).sequences()[1].check()


def test_pictures_that_are_counted_from_0_are_refused(data):
    for number in range(len(list((data / '002/frames').glob('*.png')))):
        (data / f'002/frames/{number + 1}.png').rename(data / f'002/frames/{number}.png')
    with pytest.raises(errors.UserError, match='0.png has the number 0: annotations count frames'):
        vw300.Faces(str(data)).sequences()[1].check()


def test_two_videos_in_one_folder_are_refused(data):
    (data / '001' / 'vid.mp4').write_bytes(b'x')
    with pytest.raises(errors.UserError, match='vid.avi, vid.mp4'):
        vw300.Faces(str(data)).sequences()[0].check()


@pytest.mark.parametrize('cut', [1, 2, 3, 9])
def test_landmarks_that_are_cut_off(tmp_path, cut):
    path = tmp_path / '000001.pts'
    vw300.write_landmarks(str(path), face())
    contents = path.read_bytes().rstrip()
    path.write_bytes(contents[:-cut])
    with pytest.raises(errors.UserError, match='000001.pts.*closing brace is missing'):
        vw300.read_landmarks(str(path))
