"""Views against the definition of their crops, and their pixels against their matrices."""

import pathlib

import general_warp
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from stfc3_tf import errors
from stfc3_tf.views import colour, geometry
from stfc3_tf.views import sampler as views

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
SEED = tf.constant([11, 2], tf.int64)
NO_COLOUR = (None, None)
WHOLE = [-1.0, -1.0, 1.0, 1.0]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, [*shape, 3], dtype=np.uint8)


def sides(boxes):
    """Return the shares of the frame's width and height that boxes [count, 4] cover."""
    boxes = np.asarray(boxes, np.float64)
    return (boxes[:, 2] - boxes[:, 0]) / 2, (boxes[:, 3] - boxes[:, 1]) / 2


def axis_weights(first, last, count, size):
    """Return rows [size, count] of a triangle as wide as two source or view pixels (the larger)."""
    weights = np.zeros([size, count])
    step = (last - first) / size
    reach = max(step, 1.0)
    for target in range(size):
        centre = first + (target + 0.5) * step
        for pixel in range(count):
            weights[target, pixel] = max(0.0, 1 - abs(pixel + 0.5 - centre) / reach)
    return weights / weights.sum(axis=1, keepdims=True)


def resampled_by_hand(image, box, size):
    height, width, _ = image.shape
    left, top, right, bottom = (np.array(box) + 1) / 2 * [width, height, width, height]
    rows, columns = axis_weights(top, bottom, height, size), axis_weights(left, right, width, size)
    return np.einsum('yh,xw,hwc->yxc', rows, columns, image.astype(np.float64))


# Crops


def test_candidates_have_uniform_area_and_log_uniform_aspect():
    uniform = np.random.default_rng(0).uniform(size=[2, 20_000]).astype(np.float32)
    width, height = (
        views.candidate_sizes(uniform[0], uniform[1], 340 / 256, (0.08, 1.0), (3 / 4, 4 / 3))
        .numpy()
        .T
    )
    assert scipy.stats.kstest(width * height, scipy.stats.uniform(0.08, 0.92).cdf).pvalue > 0.01
    log_aspect = np.log(width * 340 / (height * 256))
    assert (
        scipy.stats.kstest(
            log_aspect, scipy.stats.uniform(-np.log(4 / 3), 2 * np.log(4 / 3)).cdf
        ).pvalue
        > 0.01
    )


@pytest.mark.parametrize('frame_aspect', [1.0, 340 / 256, 9 / 16])
def test_boxes_are_distributed_as_candidates_that_fit(frame_aspect):
    """Rejection sampling from the definition, in a loop, gives the same distribution."""
    boxes = views.draw_boxes(4000, frame_aspect, (0.08, 1.0), (3 / 4, 4 / 3), SEED).numpy()
    random = np.random.default_rng(1)
    expected = []
    while len(expected) < 4000:
        area, aspect = random.uniform(0.08, 1), np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = np.sqrt(area * aspect / frame_aspect), np.sqrt(area * frame_aspect / aspect)
        if width <= 1 and height <= 1:
            left, top = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
            expected.append(
                [2 * left - 1, 2 * top - 1, 2 * (left + width) - 1, 2 * (top + height) - 1]
            )
    for drawn, reference in zip(boxes.T, np.transpose(expected)):
        assert scipy.stats.ks_2samp(drawn, reference).pvalue > 1e-3
    assert np.abs(boxes).max() <= 1 + 1e-6 and (boxes[:, :2] < boxes[:, 2:]).all()


def test_boxes_are_distributed_as_the_authors_code_draws_them():
    golden = np.load(GOLDEN / 'crop_draws.npz')
    left, top, width, height = golden['boxes_xywh'].T / float(golden['size'])
    low, high = 1 / golden['ratio'][::-1]
    boxes = views.draw_boxes(4000, 1.0, tuple(golden['scale']), (low, high), SEED)
    drawn_width, drawn_height = sides(boxes)
    pairs = [
        (drawn_width * drawn_height, width * height),
        (drawn_width / drawn_height, width / height),
        ((boxes[:, 0] + boxes[:, 2]) / 2, 2 * left + width - 1),
        ((boxes[:, 1] + boxes[:, 3]) / 2, 2 * top + height - 1),
    ]
    # Two samples of 4000 exceed 0.05 once in 10,000 times; whole pixels are allowed for.
    assert all(scipy.stats.ks_2samp(*pair).statistic < 0.05 for pair in pairs)
    assert abs(np.mean(pairs[0][0]) - np.mean(pairs[0][1])) < 0.02


@pytest.mark.parametrize(
    'frame_aspect, expected',
    [(4.0, [-1 / 3, -1, 1 / 3, 1]), (0.25, [-1, -1 / 3, 1, 1 / 3]), (1.0, [-1, -1, 1, 1])],
)
def test_centred_box_is_the_largest_of_admissible_aspect(frame_aspect, expected):
    np.testing.assert_allclose(views.centred_box(frame_aspect, (3 / 4, 4 / 3)), expected, rtol=1e-6)


def test_where_no_candidate_fits_the_centred_box_is_taken():
    boxes = views.draw_boxes(50, 4.0, (0.9, 1.0), (3 / 4, 4 / 3), SEED)
    np.testing.assert_allclose(boxes, [[-1 / 3, -1, 1 / 3, 1]] * 50, rtol=1e-6)


def test_box_in_frame_composes_by_matrix_product():
    crop, outer = tf.constant([-0.5, 0.2, 0.3, 0.9]), tf.constant([[-0.9, -1.0, 0.7, 0.5], WHOLE])
    boxes = views.box_in_frame(crop, outer)
    straight = tf.constant(False)
    view_from_outer = geometry.view_from_frame(crop, straight)
    outer_from_frame = geometry.view_from_frame(outer, straight)
    composed = geometry.view_from_frame(boxes, straight)
    np.testing.assert_allclose(composed, view_from_outer @ outer_from_frame, atol=1e-6)
    np.testing.assert_allclose(boxes[1], crop, atol=1e-7)


# Resampling


@pytest.mark.parametrize(
    'box', [WHOLE, [-0.8, -0.3, 0.1, 0.9], [-1, -1, -0.7, -0.8], [0.55, -0.1, 0.62, 0.08]]
)
@pytest.mark.parametrize('height, width, size', [(23, 40, 16), (23, 40, 37), (7, 90, 8)])
def test_resampling_equals_triangle_weights_by_hand(box, height, width, size):
    image = noise(height, width)
    resampled = views.resample(tf.constant(image), tf.constant(box, tf.float32), size)
    np.testing.assert_allclose(resampled, resampled_by_hand(image, box, size), atol=5e-3)


def test_the_whole_frame_at_its_own_size_is_the_frame():
    image = noise(32, 32)
    np.testing.assert_array_equal(views.resample(tf.constant(image), tf.constant(WHOLE), 32), image)


def test_a_box_of_whole_pixels_at_its_own_size_is_a_slice():
    image = noise(64, 128)
    box = tf.constant([2 * 16 / 128 - 1, 2 * 8 / 64 - 1, 2 * 48 / 128 - 1, 2 * 40 / 64 - 1])
    np.testing.assert_array_equal(views.resample(tf.constant(image), box, 32), image[8:40, 16:48])


def test_shrinking_averages_and_does_not_alias():
    stripes = np.zeros([96, 96, 3], np.uint8)
    stripes[:, ::2] = 255
    shrunk = views.resample(tf.constant(stripes), tf.constant(WHOLE), 12).numpy()
    assert np.abs(shrunk - 127.5)[:, 1:-1].max() < 0.01
    # The frame's edge cuts the outermost triangles.
    assert np.abs(shrunk - 127.5).max() < 5
    image = noise(96, 96)
    shrunk = views.resample(tf.constant(image), tf.constant(WHOLE), 12).numpy()
    # A triangle two view pixels wide: the means of 8 x 8 source pixels, smoothed once more.
    areas = image.reshape(12, 8, 12, 8, 3).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), areas.ravel())[0, 1] > 0.8
    assert abs(shrunk.mean() - image.mean()) < 1
    assert shrunk.std() < areas.std()


# Views and their matrices


def ramps(time, height, width):
    """Return frames whose red and green give a pixel's position in the box, in steps of 1/255."""
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    image = np.stack(np.broadcast_arrays(255 * x, 255 * y[:, None], 0), axis=-1)
    return np.repeat(np.round(image)[None], time, axis=0).astype(np.uint8)


def coordinates(view):
    """Return the normalised frame coordinates [..., 2] that a view of `ramps` shows."""
    return view[..., :2].astype(np.float64) / 255 * 2 - 1


def frame_coordinates(matrix, size):
    """Return the frame positions of a view's pixels by its matrix, [size, size, 2]."""
    centres = (2 * np.arange(size) + 1) / size - 1
    target = np.stack([*np.meshgrid(centres, centres), np.ones([size, size])], axis=-1)
    return (target @ np.linalg.inv(matrix).T)[..., :2]


@pytest.mark.parametrize('height, width, size', [(120, 160, 64), (90, 60, 96)])
def test_views_show_what_their_matrices_say(height, width, size):
    sampler = views.ViewSampler(size, colours=NO_COLOUR)
    flips = set()
    for number in range(8):
        sample = sampler(ramps(2, height, width), tf.constant([1, number]))
        for track in range(2):
            matrix = sample['view_from_frame'][track].numpy().astype(np.float64)
            expected = frame_coordinates(matrix, size)
            # At the frame's edge the triangle is cut, which moves the outermost pixels inwards.
            inside = np.abs(expected) < 1 - 3 / np.array([width, height])
            for frame in range(2):
                error = (coordinates(sample['views'][track, frame].numpy()) - expected)[inside]
                # Two roundings to 1/255 of the box, which is 2 wide.
                assert np.abs(error).max() < 2 * 1.01 / 255
                assert np.abs(error.mean()) < 1e-3
            flips.add(bool(matrix[0, 0] < 0))
    assert flips == {False, True}


def test_forward_pixels_land_where_backward_from_forward_takes_them():
    """Positions read in the forward view, carried by B_fb, are read again in the backward view."""
    size = 64
    sampler = views.ViewSampler(size, crop_area=(0.4, 0.8), colours=NO_COLOUR)
    sample = sampler(ramps(1, 200, 200), SEED)
    forward, backward = sample['view_from_frame']
    matrix = geometry.backward_from_forward(backward, forward).numpy()
    rows, columns = np.mgrid[0:size, 0:size]
    x, y = (2 * columns + 1) / size - 1, (2 * rows + 1) / size - 1
    points = np.stack([x, y, np.ones([size, size])], axis=-1)
    landed = ((points @ matrix.T)[..., :2] + 1) * size / 2 - 0.5
    nearest = np.round(landed).astype(int)
    seen = ((nearest >= 0) & (nearest < size)).all(axis=-1)
    assert seen.mean() > 0.1
    there = coordinates(sample['views'][1, 0].numpy())[nearest[seen][:, 1], nearest[seen][:, 0]]
    here = coordinates(sample['views'][0, 0].numpy())[seen]
    # Half a backward pixel to the nearest one, and roundings.
    half_pixel = 1 / (size * np.abs(np.array([backward[0, 0], backward[1, 1]])))
    assert (np.abs(there - here) < half_pixel + 2.5 / 255).all()


def test_frame_jitter_moves_both_tracks_alike():
    """Two tracks show one jittered frame B_fb apart, though frames differ from each other."""
    size = 96
    sampler = views.ViewSampler(
        size,
        crop_area=(1.0, 1.0),
        crop_aspect=(1.0, 1.0),
        flip_probability=1.0,
        colours=NO_COLOUR,
        frame_jitter_area=(0.8, 0.95),
    )
    sample = sampler(ramps(3, 150, 200), SEED)
    np.testing.assert_allclose(sample['view_from_frame'], [np.diag([-1, 1, 1])] * 2, atol=1e-6)
    np.testing.assert_array_equal(sample['views'][0], sample['views'][1])
    shown = coordinates(sample['views'][0].numpy())
    width = (shown[:, :, 0, 0] - shown[:, :, -1, 0]).mean(axis=1) * size / (size - 1) / 2
    height = (shown[:, -1, :, 1] - shown[:, 0, :, 1]).mean(axis=1) * size / (size - 1) / 2
    assert ((width * height > 0.79) & (width * height < 0.96)).all()
    assert len(set(np.round(width, 2))) > 1


def test_frame_jitter_composes_into_one_resampling():
    frames = noise(2, 60, 80)
    sampler = views.ViewSampler(
        24, colours=NO_COLOUR, flip_probability=0.0, frame_jitter_area=(0.8, 0.95)
    )
    sample = sampler(frames, SEED)
    frame_seed = tf.random.experimental.stateless_split(SEED, 3, alg='philox')[0]
    boxes, _ = views.visible_boxes(frames, (0.8, 0.95), frame_seed)
    for track, matrix in enumerate(sample['view_from_frame']):
        crop = general_warp.transform_points(
            geometry.inverse(matrix), tf.constant([[-1.0, -1.0], [1.0, 1.0]])
        )
        for frame in range(2):
            box = views.box_in_frame(tf.reshape(crop, [4]), boxes[frame])
            expected = resampled_by_hand(frames[frame], box.numpy(), 24)
            assert np.abs(sample['views'][track, frame].numpy() - expected).max() <= 0.51


def test_flipping_is_exact():
    frames = noise(2, 40, 50)
    straight, mirrored = [
        views.ViewSampler(32, flip_probability=probability, colours=NO_COLOUR)(frames, SEED)
        for probability in (0.0, 1.0)
    ]
    np.testing.assert_array_equal(straight['views'], mirrored['views'][:, :, :, ::-1])
    mirror = np.diag([-1.0, 1.0, 1.0])
    matrices = mirror @ straight['view_from_frame'].numpy()
    np.testing.assert_allclose(matrices, mirrored['view_from_frame'], atol=1e-6)


def test_all_frames_of_a_track_share_the_crop_and_tracks_do_not():
    frames = np.repeat(noise(1, 40, 50), 4, axis=0)
    sampled = views.ViewSampler(32, colours=NO_COLOUR)(frames, SEED)['views'].numpy()
    assert (sampled == sampled[:, :1]).all()
    assert np.abs(sampled[0].astype(int) - sampled[1]).max() > 50


def test_one_track_is_the_vanilla_form():
    sample = views.ViewSampler(32, tracks=1, colours=(None,))(noise(4, 40, 50), SEED)
    assert sample['views'].shape == (1, 4, 32, 32, 3)
    assert sample['view_from_frame'].shape == (1, 3, 3)


def test_colour_follows_or_precedes_the_crop():
    frames = noise(2, 20, 20)
    grey = colour.ColourAugmentation(grey_probability=1.0, solarise_probability=1.0)
    luma = frames[0] @ np.array([0.299, 0.587, 0.114])
    for before in (False, True):
        sampler = views.ViewSampler(
            16, tracks=1, colours=(grey,), flip_probability=0.0, colour_before_crop=before
        )
        sample = sampler(frames, SEED)
        corners = general_warp.transform_points(
            geometry.inverse(sample['view_from_frame'][0]), tf.constant([[-1.0, -1.0], [1.0, 1.0]])
        )
        box = tf.reshape(corners, [4]).numpy()

        def invert(image):
            return np.where(image < 128, image, 255 - image)

        if before:
            expected = resampled_by_hand(invert(luma)[..., None], box, 16)
        else:
            expected = invert(resampled_by_hand(luma[..., None], box, 16))
        # A value within rounding of 128 may fall on either side of the threshold.
        error = np.abs(sample['views'][0, 0].numpy() - expected)
        assert np.median(error) <= 0.5 and (error > 0.51).mean() < 0.01


# In a pipeline


def clips(count, height=30, width=44):
    frames = np.stack([noise(4, height, width, seed=seed) for seed in range(count)])
    return tf.data.Dataset.from_tensor_slices(
        {'frames': frames, 'index': np.arange(count), 'video': 10 * np.arange(count)}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'colour_before_crop': True, 'frame_jitter_area': (0.8, 0.95), 'colours': colour.RELEASED},
    ],
)
def test_pipeline_equals_eager_calls_whatever_the_parallelism(options):
    sampler = views.ViewSampler(32, **options)
    runs = [
        list(views.add_views(clips(3), sampler, seed=9, parallel_calls=calls)) for calls in (1, 3)
    ]
    for one, other, clip in zip(*runs, clips(3)):
        eager = sampler(clip['frames'], tf.stack([tf.constant(9, tf.int64), clip['index']]))
        for name in ('views', 'view_from_frame'):
            np.testing.assert_array_equal(one[name], other[name])
            np.testing.assert_array_equal(one[name], eager[name])
        assert one['index'] == clip['index'] and one['video'] == clip['video']


def test_element_has_static_shapes_and_takes_frames_of_any_size():
    def generate():
        for index, (height, width) in enumerate([(5, 7), (300, 20), (64, 64)]):
            yield {'frames': noise(4, height, width), 'index': index, 'video': 0}

    scalar = tf.TensorSpec([], tf.int64)
    dataset = tf.data.Dataset.from_generator(
        generate,
        output_signature={
            'frames': tf.TensorSpec([4, None, None, 3], tf.uint8),
            'index': scalar,
            'video': scalar,
        },
    )
    dataset = views.add_views(dataset, views.ViewSampler(24), seed=0)
    assert dataset.element_spec == {
        'views': tf.TensorSpec([2, 4, 24, 24, 3], tf.uint8),
        'view_from_frame': tf.TensorSpec([2, 3, 3], tf.float32),
        'index': scalar,
        'video': scalar,
    }
    assert len(list(dataset.batch(3))) == 1


def test_seed_and_index_both_matter():
    same = tf.data.Dataset.from_tensor_slices(
        {
            'frames': np.repeat(noise(1, 4, 30, 44), 2, axis=0),
            'index': np.arange(2),
            'video': np.arange(2),
        }
    )
    sampler = views.ViewSampler(32, colours=NO_COLOUR)
    matrices = []
    for seed in (0, 1):
        for element in views.add_views(same, sampler, seed):
            matrices.extend(np.reshape(element['view_from_frame'], [2, 9]))
    assert len(np.unique(matrices, axis=0)) == 8


def test_flips_are_as_frequent_as_asked_and_independent_of_each_other():
    sampler = views.ViewSampler(4, colours=NO_COLOUR, flip_probability=0.3)
    frames = noise(1, 8, 8)
    matrices = tf.data.Dataset.range(1500).map(
        lambda i: sampler(frames, tf.stack([i, i]))['view_from_frame']
    )
    flipped = np.stack(list(matrices))[:, :, 0, 0] < 0
    assert np.abs(flipped.mean(axis=0) - 0.3).max() < 0.05
    assert abs(np.corrcoef(flipped.T)[0, 1]) < 0.1


@pytest.mark.parametrize(
    'setting',
    [
        {'crop_area': (0.0, 1.0)},
        {'crop_area': (0.5, 1.1)},
        {'crop_aspect': (2.0, 1.0)},
        {'frame_jitter_area': (0.9, 0.8)},
        {'tracks': 3},
        {'tracks': 1},
        {'flip_probability': -0.1},
        {'view_size': 0},
    ],
)
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(errors.UserError, match=next(iter(setting))):
        views.ViewSampler(**setting)
