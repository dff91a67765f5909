"""Writes a configuration's training step as XLA's HLO, and the clips it is to see, for a machine without TensorFlow.

    python docs/results/gpu/export_step.py --gin_file=gin/stfc3.gin --data=SHARDS --output=STEP --steps=1600

`STEP` then holds what `run_step.py` needs beside JAX. The step is the learner's own `train_step`; its batch is made inside
it, from frames that stay in the device's memory, with the draws and the arithmetic of `ViewSampler`. XLA draws other
random numbers from 64-bit seeds than TensorFlow's kernels do, so initial weights, crops and colours follow the same distributions but
are not those of `stfc3_tf.train`. `--check` compares the pictures, given the same draws.
"""

import json
import os
import re

from absl import flags
import gin
import numpy as np
import tensorflow as tf

from stfc3_tf import clips, colour, command, geometry, training
from stfc3_tf import views as view_lib
from stfc3_tf.clips import dataset, source

_GIN_FILE = flags.DEFINE_string('gin_file', None, 'Configuration.', required=True)
_BINDINGS = flags.DEFINE_multi_string('gin_bindings', [], 'Settings that replace those of the file.')
_DATA = flags.DEFINE_string('data', None, 'Shards of `tools.prepare_clips`.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to.', required=True)
_STEPS = flags.DEFINE_integer('steps', 1600, 'For how many steps clips are chosen.')
_CHECK = flags.DEFINE_bool('check', False, 'Only compare the views of a few clips with the sampler\'s.')

FIGURES = ('loss', 'gradient_norm', 'return_probability', 'cycle_accuracy', 'visible_fraction', 'skipped_steps')
_BLUR_TAPS = 8  # four standard deviations of the widest blur, 2 pixels


# The views of a batch, in operations that XLA compiles.


def draw(sampler, seed, index, size, time):
    """Crop boxes [tracks, 4], flips [tracks] and `ColourDraw` [tracks, time, ...] of one clip."""
    key = tf.stack([tf.constant(seed, tf.int64), index])
    _, *track_seeds = tf.unstack(view_lib._split(key, 1 + len(sampler.colours)))
    aspect = tf.cast(size[1] / size[0], tf.float32)
    boxes, flips, draws = [], [], []
    for augmentation, track_seed in zip(sampler.colours, track_seeds):
        crop_seed, flip_seed, colour_seed = tf.unstack(view_lib._split(track_seed, 3))
        boxes.append(view_lib.draw_boxes(1, aspect, sampler.crop_area, sampler.crop_aspect, crop_seed)[0])
        flips.append(tf.random.stateless_uniform([], flip_seed, alg='philox') < sampler.flip_probability)
        draws.append((augmentation or colour.ColourAugmentation()).draw(time, colour_seed))
    return tf.stack(boxes), tf.stack(flips), tf.nest.map_structure(lambda *x: tf.stack(x), *draws)


def draw_batch(sampler, seed, index, size, time):
    """`draw` of every clip of a batch: index int64 [batch], size int32 [batch, 2] (height, width)."""
    tracks = len(sampler.colours)
    spec = lambda dtype, *rest: tf.TensorSpec([tracks, time, *rest], dtype)
    flag = spec(tf.bool)
    colours = colour.ColourDraw(flag, spec(tf.int32, 4), spec(tf.float32, 4), flag, flag, spec(tf.float32), flag)
    signature = tf.TensorSpec([tracks, 4]), tf.TensorSpec([tracks], tf.bool), colours
    return tf.map_fn(lambda e: draw(sampler, seed, *e, time), (index, size), fn_output_signature=signature)


def axis_weights(first, last, length, canvas, size):
    """[..., size, canvas]: the sampler's triangle kernel between positions `first` and `last` of `length` pixels."""
    pitch = ((last - first) / size)[..., None]
    centre = first[..., None] + (tf.range(size, dtype=tf.float32) + 0.5) * pitch
    pixel = tf.range(canvas, dtype=tf.float32)
    weight = tf.nn.relu(1 - tf.abs(pixel + 0.5 - centre[..., None]) / tf.maximum(pitch, 1.0)[..., None])
    weight = tf.where(pixel < length[..., None, None], weight, 0.0)
    return weight / tf.reduce_sum(weight, axis=-1, keepdims=True)


def crops(boxes, pixels, size, side):
    """The boxes [batch, tracks, 4] of pixels [batch, time, H, W, 3]: [batch, tracks, time, 3, side, side]."""
    height, width = (tf.cast(size[:, i], tf.float32)[:, None] for i in (0, 1))
    top, bottom = ((boxes[..., i] + 1) * height / 2 for i in (1, 3))
    left, right = ((boxes[..., i] + 1) * width / 2 for i in (0, 2))
    rows = axis_weights(top, bottom, height, pixels.shape[2], side)
    columns = axis_weights(left, right, width, pixels.shape[3], side)
    return tf.einsum('brxw,brtcyw->brtcyx', columns, tf.einsum('bryh,bthwc->brtcyw', rows, pixels))


def jitter(planes, order, amounts):
    """`colour._jitter` of planes [n, 3, h, w]: all four operations at each step, of which one is taken."""
    for step in range(4):
        brightness, contrast, saturation = (amounts[:, i, None, None, None] for i in range(3))
        mean = tf.einsum('c,nchw->n', tf.constant(colour.LUMA), planes) / (planes.shape[2] * planes.shape[3])
        results = [
            tf.minimum(planes * brightness, 255.0),
            tf.clip_by_value(planes * contrast + (1 - contrast) * mean[:, None, None, None], 0.0, 255.0),
            tf.clip_by_value(planes * saturation + (1 - saturation) * grey(planes), 0.0, 255.0),
            tf.vectorized_map(lambda e: colour.shift_hue(*e), (planes, amounts[:, 3])),
        ]
        chosen = [(order[:, step] == number)[:, None, None, None] for number in range(4)]
        planes = tf.add_n([tf.where(*pair, 0.0) for pair in zip(chosen, results)])
    return planes


def grey(planes):
    """[n, 3, h, w] -> [n, 1, h, w]."""
    return tf.einsum('c,nchw->nhw', tf.constant(colour.LUMA), planes)[:, None]


def blur_matrices(sigma, drawn, size):
    """[n, size, size]: the Gaussian of `colour.gaussian_blur` along one axis; the identity where it was not drawn."""
    offsets = tf.range(-_BLUR_TAPS, _BLUR_TAPS + 1)
    distance = tf.cast(offsets, tf.float32)
    kernel = tf.exp(-0.5 * (distance / sigma[:, None]) ** 2)
    kernel = tf.where(tf.abs(distance) <= tf.math.ceil(4 * sigma)[:, None], kernel, 0.0)
    kernel = kernel / tf.reduce_sum(kernel, axis=1, keepdims=True)
    kernel = tf.where(drawn[:, None], kernel, tf.cast(offsets == 0, tf.float32))
    at = tf.abs(tf.range(size)[:, None] + offsets)
    return tf.einsum('nt,itj->nij', kernel, tf.one_hot(size - 1 - tf.abs(size - 1 - at), size))


def recolour(planes, draws):
    """`colour.apply` of planes [n, 3, size, size]."""
    pick = lambda flag, changed: tf.where(flag[:, None, None, None], changed, planes)
    planes = pick(draws.jitter, jitter(planes, draws.order, draws.amounts))
    planes = pick(draws.grey, tf.repeat(tf.clip_by_value(grey(planes), 0.0, 255.0), 3, axis=1))
    matrices = blur_matrices(draws.sigma, draws.blur, planes.shape[-1])
    for _ in range(2):
        planes = tf.einsum('nij,ncjw->ncwi', matrices, planes)
    return pick(draws.solarise, colour.solarise(planes))


def views(sampler, drawn, canvas, frame, size, index):
    """A batch for `Learner.train_step`.

    Args:
      sampler: the `ViewSampler`.
      drawn: what `draw_batch` drew.
      canvas: uint8 [frames, H, W, 3], each frame in its upper left corner.
      frame: int32 [batch, time], of each clip.
      size: int32 [batch, 2], height and width of each clip.
      index: int64 [batch].
    """
    boxes, flips, draws = drawn
    planes = crops(boxes, tf.cast(tf.gather(canvas, frame), tf.float32), size, sampler.view_size)
    if any(augmentation is not None for augmentation in sampler.colours):
        flat = tf.nest.map_structure(lambda x: tf.reshape(x, [-1, *x.shape[3:]]), draws)
        planes = tf.reshape(recolour(tf.reshape(planes, [-1, *planes.shape[3:]]), flat), planes.shape)
    planes = tf.where(flips[:, :, None, None, None, None], tf.reverse(planes, axis=[-1]), planes)
    seen = tf.cast(tf.transpose(planes, [0, 1, 2, 4, 5, 3]) + 0.5, tf.uint8)
    return {'views': seen, 'view_from_frame': geometry.view_from_frame(boxes, flips), 'index': index}


# Frames, clips, weights and the step, written down.


class Corpus:
    """Every frame of the shards as it is encoded, and which of them each sample of the stream shows."""

    def __init__(self, path: str):
        self.source = clips.open_source(path)
        self.pictures, self.first, self.times, self.sizes = [], [], [], []
        for video in range(len(self.source)):
            example = self.source._example(video)
            found = example.feature_lists.feature_list['image/encoded'].feature
            self.first.append(len(self.pictures))
            self.times.append(self.source._times(video, example, len(found)))
            self.sizes.append([example.context.feature[f'image/{side}'].int64_list.value[0] for side in ('height', 'width')])
            self.pictures += [picture.bytes_list.value[0] for picture in found]

    @property
    def canvas(self) -> tuple[int, int]:
        return tuple(np.max(self.sizes, axis=0))

    def samples(self, count, time, rate, clips_per_video, seed):
        """Frame numbers int32 [count, time] and sizes int32 [count, 2] of the first samples of the stream."""
        sampler = dataset.ClipSampler(self.source, time, rate, clips_per_video, seed, source.SkippedVideos())
        videos, frames = zip(*(self._sample(sampler, index, time, rate) for index in range(count)))
        return np.array(frames, 'i4'), np.array(self.sizes, 'i4')[list(videos)]

    def _sample(self, sampler, index, time, rate):
        for attempt in range(dataset.MAX_ATTEMPTS):
            video, position = sampler.candidate(index, attempt)
            times = self.times[video]
            try:
                chosen = source.clip_times('', times[0], times[-1], position, time, rate)
            except source.UnreadableVideo:
                continue
            return video, self.first[video] + source.nearest(times, chosen)
        raise ValueError(f'sample {index}: no video is long enough')


def convolutions(model):
    return [layer for layer in model.encoder.layers if isinstance(layer, tf.keras.layers.Conv2D)]


def initial_kernels(layers, seeds):
    """The convolutions' initial weights, by the formulas of Keras' `VarianceScaling`; `seeds` int32 [layers]."""
    kernels = []
    for layer, seed in zip(layers, tf.unstack(seeds)):
        initialiser, (rows, columns, inputs, outputs) = layer.kernel_initializer, layer.kernel.shape
        fan = rows * columns * (inputs if initialiser.mode == 'fan_in' else outputs)
        key, shape, scale = tf.stack([seed, 0]), layer.kernel.shape, initialiser.scale / fan
        if initialiser.distribution == 'uniform':
            limit = (3 * scale) ** 0.5
            kernels.append(tf.random.stateless_uniform(shape, key, -limit, limit, alg='philox'))
        else:
            kernels.append(tf.random.stateless_normal(shape, key, 0.0, scale**0.5, alg='philox'))
    return tuple(kernels)


def write_hlo(function, spec, name) -> str:
    lowered = function.experimental_get_compiler_ir(*spec)
    with open(os.path.join(_OUTPUT.value, f'{name}.hlo'), 'wb') as file:
        file.write(lowered(stage='hlo_serialized'))
    return lowered(stage='hlo')


def write_step(model, sampler, batch, time, seed, canvas) -> None:
    """Writes step.hlo, initial.hlo, values.npz and step.json."""

    @tf.function(jit_compile=True)
    def step(frames, frame, size, index):
        model.reset_metrics()
        drawn = draw_batch(sampler, seed, index, size, time)
        logs = model.train_step(views(sampler, drawn, frames, frame, size, index))
        return tf.stack([tf.cast(logs[name], tf.float32) for name in FIGURES])

    spec = [tf.TensorSpec(canvas, tf.uint8), tf.TensorSpec([batch, time], tf.int32),
            tf.TensorSpec([batch, 2], tf.int32), tf.TensorSpec([batch], tf.int64)]
    concrete = step.get_concrete_function(*spec)
    by_handle = {id(v.handle): v for v in concrete.variables}
    captured = [by_handle[id(tensor)] for tensor in concrete.captured_inputs]
    text = write_hlo(step, spec, 'step')
    layers = convolutions(model)
    initial = tf.function(lambda seeds: initial_kernels(layers, seeds), jit_compile=True)
    write_hlo(initial, [tf.TensorSpec([len(layers)], tf.int32)], 'initial')
    aliases = re.search(r'input_output_alias=\{(.*?)\}, entry', text, re.S).group(1)
    kernels = {id(layer.kernel.handle): number for number, layer in enumerate(layers)}
    encoder = {id(v.handle) for v in model.encoder.variables}
    about = {
        'batch': batch, 'inputs': len(spec), 'figures': FIGURES, 'canvas': list(canvas),
        'seeds': [layer.kernel_initializer.seed for layer in layers],
        'output_to_parameter': {o: int(p) for o, p in re.findall(r'\{(\d+)\}: \((\d+)', aliases)},
        'variables': [{'name': v.name, 'kernel': kernels.get(id(v.handle)), 'of_encoder': id(v.handle) in encoder}
                      for v in captured],
    }
    small = {f'v{i}': v.numpy() for i, v in enumerate(captured) if id(v.handle) not in kernels}
    np.savez_compressed(os.path.join(_OUTPUT.value, 'values.npz'), **small)
    with open(os.path.join(_OUTPUT.value, 'step.json'), 'w') as file:
        json.dump(about, file, indent=1)


def check(corpus, sampler, time, seed, count=6) -> None:
    """Prints by how many grey levels the views differ from the sampler's, of the same draws."""
    stream = clips.clip_dataset(corpus.source, frames=time, seed=seed, skipped=source.SkippedVideos()).take(count)
    frames = [clip['frames'].numpy() for clip in stream]
    expected = [clip['views'].numpy() for clip in view_lib.add_views(stream, sampler, seed)]
    canvas = np.zeros([count * time, *corpus.canvas, 3], 'u1')
    for number, clip in enumerate(frames):
        canvas[number * time : (number + 1) * time, : clip.shape[1], : clip.shape[2]] = clip
    size = np.array([clip.shape[1:3] for clip in frames], 'i4')
    drawn = draw_batch(sampler, seed, tf.range(count, dtype=tf.int64), tf.constant(size), time)
    made = tf.function(lambda *x: views(sampler, drawn, *x), jit_compile=True)(
        tf.constant(canvas), tf.reshape(tf.range(count * time), [count, time]), tf.constant(size),
        tf.range(count, dtype=tf.int64))['views'].numpy()
    apart = np.abs(made.astype(int) - np.stack(expected))
    print(f'{count} clips: at most {apart.max()} grey level(s) apart, {np.mean(apart > 0):.1e} of the values at all')


def main(_):
    command.parse_gin([_GIN_FILE.value], _BINDINGS.value)
    train = gin.get_bindings('train')
    sampler, batch, time, seed = (train[name] for name in ('view_sampler', 'batch_size', 'clip_frames', 'seed'))
    corpus = Corpus(_DATA.value)
    if _CHECK.value:
        check(corpus, sampler, time, seed)
        return
    os.makedirs(_OUTPUT.value, exist_ok=True)
    frames, sizes = corpus.samples(batch * _STEPS.value, time, train['frame_rate'], train['clips_per_video'], seed)
    lengths = np.array([len(picture) for picture in corpus.pictures])
    np.savez(os.path.join(_OUTPUT.value, 'frames.npz'), data=np.frombuffer(b''.join(corpus.pictures), 'u1'), lengths=lengths)
    np.savez_compressed(os.path.join(_OUTPUT.value, 'samples.npz'), frames=frames, sizes=sizes)
    model = training.make_learner(train['learner'], train['encoder'], train['optimizer'], sampler, time, True)
    write_step(model, sampler, batch, time, seed, (len(corpus.pictures), *map(int, corpus.canvas), 3))


if __name__ == '__main__':
    command.run(main)
