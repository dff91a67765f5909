r"""Export a training step as XLA's HLO, with its clips, for a machine without TensorFlow.

    python tools/gpu_step/export_step.py --gin_file=gin/stfc3.gin --data=SHARDS \
        --output=STEP --steps=1600

`STEP` then holds everything that `run_step.py` needs beside JAX. The step is the learner's own
`train_step`. Its batch is made inside the step, from frames that stay in the device's memory, with
the random draws and the arithmetic of `ViewSampler`. From the same 64-bit seeds, XLA draws other
random numbers than TensorFlow's kernels; so initial weights, crops and colours have the same
distributions as in `stfc3_tf.train`, but not the same values. `--check` compares the views of both,
given the same draws.
"""

import json
import os
import re

from absl import flags
import numpy as np
import tensorflow as tf

from stfc3_tf import clips, errors
from stfc3_tf.clips import dataset, shards, source
from stfc3_tf.commands import command, configuration
from stfc3_tf.training import build
from stfc3_tf.training.settings import Settings
from stfc3_tf.views import colour, geometry
from stfc3_tf.views import sampler as view_lib

_GIN_FILE = flags.DEFINE_string('gin_file', None, 'Configuration.', required=True)
_BINDINGS = flags.DEFINE_multi_string(
    'gin_bindings', [], 'Settings that replace those of the file.'
)
_DATA = flags.DEFINE_string('data', None, 'Shards of `tools.prepare_clips`.', required=True)
_OUTPUT = flags.DEFINE_string('output', None, 'Folder to write to.', required=True)
_STEPS = flags.DEFINE_integer('steps', 1600, 'Number of steps to choose clips for.')
_CHECK = flags.DEFINE_bool(
    'check', False, "Write nothing; compare the views of a few clips with the sampler's."
)

FIGURES = (
    'loss',
    'gradient_norm',
    'return_probability',
    'cycle_accuracy',
    'visible_fraction',
    'skipped_steps',
)
_BLUR_TAPS = 8  # four standard deviations of the widest blur, 2 pixels


# The views of a batch, in operations that XLA compiles.


def draw(sampler, seed, index, size, time):
    """Draw the views of one clip as `ViewSampler` does.

    Args:
      sampler: the `ViewSampler`.
      seed: of the run.
      index: int64 scalar, number of the clip.
      size: int32 [2], (height, width) of its frames.
      time: number of frames.

    Returns:
      Crop boxes float32 [tracks, 4], flips bool [tracks], and a `ColourDraw` of arrays
      [tracks, time, ...].
    """
    key = tf.stack([tf.constant(seed, tf.int64), index])
    _, *track_seeds = tf.unstack(view_lib.split(key, 1 + len(sampler.colours)))
    aspect = tf.cast(size[1] / size[0], tf.float32)
    boxes, flips, draws = [], [], []
    for augmentation, track_seed in zip(sampler.colours, track_seeds):
        crop_seed, flip_seed, colour_seed = tf.unstack(view_lib.split(track_seed, 3))
        boxes.append(
            view_lib.draw_boxes(1, aspect, sampler.crop_area, sampler.crop_aspect, crop_seed)[0]
        )
        flips.append(
            tf.random.stateless_uniform([], flip_seed, alg='philox') < sampler.flip_probability
        )
        draws.append((augmentation or colour.ColourAugmentation()).draw(time, colour_seed))
    return tf.stack(boxes), tf.stack(flips), tf.nest.map_structure(lambda *x: tf.stack(x), *draws)


def draw_batch(sampler, seed, index, size, time):
    """Apply `draw` to every clip of a batch.

    Args:
      sampler: the `ViewSampler`.
      seed: of the run.
      index: int64 [batch].
      size: int32 [batch, 2], (height, width).
      time: number of frames.

    Returns:
      As `draw`, with a batch axis in front.
    """
    tracks = len(sampler.colours)
    spec = lambda dtype, *rest: tf.TensorSpec([tracks, time, *rest], dtype)
    flag = spec(tf.bool)
    colours = colour.ColourDraw(
        flag, spec(tf.int32, 4), spec(tf.float32, 4), flag, flag, spec(tf.float32), flag
    )
    signature = tf.TensorSpec([tracks, 4]), tf.TensorSpec([tracks], tf.bool), colours
    return tf.map_fn(
        lambda clip: draw(sampler, seed, clip[0], clip[1], time),
        (index, size),
        fn_output_signature=signature,
    )


def axis_weights(first, last, length, canvas, size):
    """Return the sampler's resampling weights along one axis.

    Args:
      first: float32 [...], the pixel position where the box begins.
      last: float32 [...], the position where it ends; before `first` in a mirrored box.
      length: float32 [...], pixels of the frame along the axis.
      canvas: pixels of the stored frames along the axis.
      size: pixels of the view.

    Returns:
      float32 [..., size, canvas], each row with sum 1.
    """
    pitch = ((last - first) / size)[..., None]
    centre = first[..., None] + (tf.range(size, dtype=tf.float32) + 0.5) * pitch
    pixel = tf.range(canvas, dtype=tf.float32)
    weight = tf.nn.relu(
        1 - tf.abs(pixel + 0.5 - centre[..., None]) / tf.maximum(pitch, 1.0)[..., None]
    )
    weight = tf.where(pixel < length[..., None, None], weight, 0.0)
    return weight / tf.reduce_sum(weight, axis=-1, keepdims=True)


def crops(boxes, pixels, size, side):
    """Cut boxes out of frames and resize them.

    Args:
      boxes: float32 [batch, tracks, 4].
      pixels: float32 [batch, time, height, width, 3].
      size: int32 [batch, 2], (height, width) that the frames fill.
      side: pixels of the views.

    Returns:
      float32 [batch, tracks, time, 3, side, side].
    """
    height, width = (tf.cast(size[:, i], tf.float32)[:, None] for i in (0, 1))
    top, bottom = ((boxes[..., i] + 1) * height / 2 for i in (1, 3))
    left, right = ((boxes[..., i] + 1) * width / 2 for i in (0, 2))
    rows = axis_weights(top, bottom, height, pixels.shape[2], side)
    columns = axis_weights(left, right, width, pixels.shape[3], side)
    return tf.einsum('brxw,brtcyw->brtcyx', columns, tf.einsum('bryh,bthwc->brtcyw', rows, pixels))


def jitter(planes, order, amounts):
    """Jitter colours as `colour` does.

    All four operations are computed at each step and one result is kept.

    Args:
      planes: float32 [images, 3, height, width].
      order: int32 [images, 4], the operation of each step.
      amounts: float32 [images, 4], of each operation.

    Returns:
      float32 [images, 3, height, width].
    """
    for step in range(4):
        brightness, contrast, saturation = (amounts[:, i, None, None, None] for i in range(3))
        mean = tf.einsum('c,nchw->n', tf.constant(colour.LUMA), planes) / (
            planes.shape[2] * planes.shape[3]
        )
        results = [
            tf.minimum(planes * brightness, 255.0),
            tf.clip_by_value(
                planes * contrast + (1 - contrast) * mean[:, None, None, None], 0.0, 255.0
            ),
            tf.clip_by_value(planes * saturation + (1 - saturation) * grey(planes), 0.0, 255.0),
            tf.vectorized_map(lambda e: colour.shift_hue(*e), (planes, amounts[:, 3])),
        ]
        chosen = [(order[:, step] == number)[:, None, None, None] for number in range(4)]
        planes = tf.add_n([tf.where(*pair, 0.0) for pair in zip(chosen, results)])
    return planes


def grey(planes):
    """Return the luma of images: [images, 3, height, width] -> [images, 1, height, width]."""
    return tf.einsum('c,nchw->nhw', tf.constant(colour.LUMA), planes)[:, None]


def blur_matrices(sigma, drawn, size):
    """Return the matrices of `colour.gaussian_blur` along one axis.

    Args:
      sigma: float32 [images], standard deviation in pixels.
      drawn: bool [images]; False gives the identity.
      size: pixels.

    Returns:
      float32 [images, size, size].
    """
    offsets = tf.range(-_BLUR_TAPS, _BLUR_TAPS + 1)
    distance = tf.cast(offsets, tf.float32)
    kernel = tf.exp(-0.5 * (distance / sigma[:, None]) ** 2)
    kernel = tf.where(tf.abs(distance) <= tf.math.ceil(4 * sigma)[:, None], kernel, 0.0)
    kernel = kernel / tf.reduce_sum(kernel, axis=1, keepdims=True)
    kernel = tf.where(drawn[:, None], kernel, tf.cast(offsets == 0, tf.float32))
    at = tf.abs(tf.range(size)[:, None] + offsets)
    return tf.einsum('nt,itj->nij', kernel, tf.one_hot(size - 1 - tf.abs(size - 1 - at), size))


def recolour(planes, draws):
    """Change colours as `colour.apply` does: float32 [images, 3, size, size], same shape out."""
    pick = lambda flag, changed: tf.where(flag[:, None, None, None], changed, planes)
    planes = pick(draws.jitter, jitter(planes, draws.order, draws.amounts))
    planes = pick(draws.grey, tf.repeat(tf.clip_by_value(grey(planes), 0.0, 255.0), 3, axis=1))
    matrices = blur_matrices(draws.sigma, draws.blur, planes.shape[-1])
    for _ in range(2):
        planes = tf.einsum('nij,ncjw->ncwi', matrices, planes)
    return pick(draws.solarise, colour.solarise(planes))


def views(sampler, drawn, canvas, frame, size, index):
    """Make a batch for `Learner.train_step`.

    Args:
      sampler: the `ViewSampler`.
      drawn: what `draw_batch` returned.
      canvas: uint8 [frames, height, width, 3], each frame in the upper left corner.
      frame: int32 [batch, time], frame numbers of each clip.
      size: int32 [batch, 2], height and width of each clip.
      index: int64 [batch], numbers of the clips.
    """
    boxes, flips, draws = drawn
    planes = crops(boxes, tf.cast(tf.gather(canvas, frame), tf.float32), size, sampler.view_size)
    if any(augmentation is not None for augmentation in sampler.colours):
        flat = tf.nest.map_structure(lambda x: tf.reshape(x, [-1, *x.shape[3:]]), draws)
        planes = tf.reshape(
            recolour(tf.reshape(planes, [-1, *planes.shape[3:]]), flat), planes.shape
        )
    planes = tf.where(flips[:, :, None, None, None, None], tf.reverse(planes, axis=[-1]), planes)
    seen = tf.cast(tf.transpose(planes, [0, 1, 2, 4, 5, 3]) + 0.5, tf.uint8)
    return {
        'views': seen,
        'view_from_frame': geometry.view_from_frame(boxes, flips),
        'index': index,
    }


# The files that are written: frames, clips, weights and the step.


class Corpus:
    """All encoded frames of the shards, and the frames of each clip of the training stream."""

    def __init__(self, path: str):
        opened = clips.open_source(path)
        if not isinstance(opened, shards.Shards):
            raise errors.UserError(f'--data={path}: not shards of tools.prepare_clips.')
        self.source = opened
        self.pictures: list[bytes] = []
        # Of each video: the number of its first picture, its times in seconds, (height, width).
        self.first: list[int] = []
        self.times: list[np.ndarray] = []
        self.sizes: list[list[int]] = []
        for video in range(len(opened)):
            self._add(video)

    def _add(self, video: int) -> None:
        stored = self.source.stored(video)
        self.first.append(len(self.pictures))
        self.times.append(stored.times)
        self.sizes.append(list(stored.size))
        self.pictures += stored.pictures

    @property
    def canvas(self) -> tuple[int, int]:
        """The largest height and the largest width of the frames."""
        height, width = np.max(self.sizes, axis=0).tolist()
        return height, width

    def samples(self, count, time, rate, clips_per_video, seed):
        """Choose the first clips of the training stream.

        Args:
          count: number of clips.
          time: frames per clip.
          rate: frames per second, or the lowest and the highest.
          clips_per_video: clips of each video per epoch.
          seed: of the stream.

        Returns:
          Frame numbers int32 [count, time] and (height, width) int32 [count, 2].
        """
        sampler = dataset.ClipSampler(
            self.source, time, rate, clips_per_video, seed, source.SkippedVideos()
        )
        videos, frames = zip(*(self._sample(sampler, index, time) for index in range(count)))
        return np.array(frames, 'i4'), np.array(self.sizes, 'i4')[list(videos)]

    def _sample(self, sampler, index, time):
        for attempt in range(dataset.MAX_ATTEMPTS):
            video, position = sampler.candidate(index, attempt)
            times = self.times[video]
            for rate in sampler.frame_rates(index):
                try:
                    chosen = source.clip_times('', times[0], times[-1], position, time, rate)
                except source.UnreadableVideo:
                    continue
                return video, self.first[video] + source.nearest(times, chosen)
        raise errors.UserError(f'Sample {index}: no video is long enough.')


def convolutions(model):
    """Return the convolution layers of a learner's encoder."""
    return [layer for layer in model.encoder.layers if isinstance(layer, tf.keras.layers.Conv2D)]


def initial_kernels(layers, seeds):
    """Draw the initial weights of convolutions by the formulas of Keras' `VarianceScaling`.

    Args:
      layers: the convolutions.
      seeds: int32 [layers].

    Returns:
      A kernel per layer.
    """
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
    """Write a compiled function as <output>/<name>.hlo.

    Args:
      function: a `tf.function` with `jit_compile=True`.
      spec: its arguments, or their `tf.TensorSpec`s.
      name: of the file.

    Returns:
      Its HLO as text.
    """
    lowered = function.experimental_get_compiler_ir(*spec)
    with open(os.path.join(_OUTPUT.value, f'{name}.hlo'), 'wb') as file:
        file.write(lowered(stage='hlo_serialized'))
    return lowered(stage='hlo')


def write_step(model, sampler, batch, time, seed, canvas) -> None:
    """Write step.hlo, initial.hlo, values.npz and step.json.

    Args:
      model: the compiled `Learner`.
      sampler: the `ViewSampler`.
      batch: clips per step.
      time: frames per clip.
      seed: of the run.
      canvas: shape of all stored frames, [frames, height, width, 3].
    """

    @tf.function(jit_compile=True)
    def step(frames, frame, size, index):
        model.reset_metrics()
        drawn = draw_batch(sampler, seed, index, size, time)
        logs = model.train_step(views(sampler, drawn, frames, frame, size, index))
        return tf.stack([tf.cast(logs[name], tf.float32) for name in FIGURES])

    spec = [
        tf.TensorSpec(canvas, tf.uint8),
        tf.TensorSpec([batch, time], tf.int32),
        tf.TensorSpec([batch, 2], tf.int32),
        tf.TensorSpec([batch], tf.int64),
    ]
    concrete = step.get_concrete_function(*spec)
    by_handle = {id(v.handle): v for v in concrete.variables}
    captured = [by_handle[id(tensor)] for tensor in concrete.captured_inputs]
    text = write_hlo(step, spec, 'step')
    layers = convolutions(model)
    initial = tf.function(lambda seeds: initial_kernels(layers, seeds), jit_compile=True)
    write_hlo(initial, [tf.TensorSpec([len(layers)], tf.int32)], 'initial')
    about = {
        'batch': batch,
        'inputs': len(spec),
        'figures': FIGURES,
        'canvas': list(canvas),
        'seeds': [layer.kernel_initializer.seed for layer in layers],
        'output_to_parameter': updated_parameters(text),
        'variables': write_values(captured, layers, model.encoder),
    }
    with open(os.path.join(_OUTPUT.value, 'step.json'), 'w') as file:
        json.dump(about, file, indent=1)


def updated_parameters(hlo: str) -> dict[str, int]:
    """Return, for each output of a compiled function that updates a parameter, the parameter."""
    aliases = hlo.partition('input_output_alias={')[2].partition('}, entry')[0]
    return {output: int(p) for output, p in re.findall(r'\{(\d+)\}: \((\d+)', aliases)}


def write_values(variables, layers, encoder) -> list[dict]:
    """Write values.npz: the variables that are not kernels of convolutions.

    Args:
      variables: all variables of the step, in their order.
      layers: the convolutions, whose kernels `initial` draws.
      encoder: of the learner.

    Returns:
      What `run_step.py` needs to know of each variable.
    """
    kernels = {id(layer.kernel.handle): number for number, layer in enumerate(layers)}
    of_encoder = {id(v.handle) for v in encoder.variables}
    small = {f'v{i}': v.numpy() for i, v in enumerate(variables) if id(v.handle) not in kernels}
    np.savez_compressed(os.path.join(_OUTPUT.value, 'values.npz'), **small)
    return [
        {
            'name': v.name,
            'kernel': kernels.get(id(v.handle)),
            'of_encoder': id(v.handle) in of_encoder,
        }
        for v in variables
    ]


def check(corpus, sampler, time, seed, count=6) -> None:
    """Print by how many grey levels the views differ from the sampler's for the same draws.

    Args:
      corpus: the frames.
      sampler: the `ViewSampler`.
      time: frames per clip.
      seed: of the run.
      count: number of clips to compare.
    """
    stream = clips.clip_dataset(
        corpus.source, frames=time, seed=seed, skipped=source.SkippedVideos()
    ).take(count)
    frames = [clip['frames'].numpy() for clip in stream]
    expected = [clip['views'].numpy() for clip in view_lib.add_views(stream, sampler, seed)]
    canvas = np.zeros([count * time, *corpus.canvas, 3], 'u1')
    for number, clip in enumerate(frames):
        canvas[number * time : (number + 1) * time, : clip.shape[1], : clip.shape[2]] = clip
    size = np.array([clip.shape[1:3] for clip in frames], 'i4')
    drawn = draw_batch(sampler, seed, tf.range(count, dtype=tf.int64), tf.constant(size), time)
    made = tf.function(lambda *x: views(sampler, drawn, *x), jit_compile=True)(
        tf.constant(canvas),
        tf.reshape(tf.range(count * time), [count, time]),
        tf.constant(size),
        tf.range(count, dtype=tf.int64),
    )['views'].numpy()
    apart = np.abs(made.astype(int) - np.stack(expected))
    print(
        f'{count} clips: they differ by at most {apart.max()} grey levels; '
        f'{np.mean(apart > 0):.1e} of the values differ'
    )


def main(_):
    """Export the step, or compare its views."""
    configuration.parse_gin([_GIN_FILE.value], _BINDINGS.value)
    train = Settings()
    sampler, batch = train.view_sampler, train.batch_size
    time, seed = train.clip_frames, train.seed
    corpus = Corpus(_DATA.value)
    if _CHECK.value:
        check(corpus, sampler, time, seed)
        return
    os.makedirs(_OUTPUT.value, exist_ok=True)
    frames, sizes = corpus.samples(
        batch * _STEPS.value, time, train.frame_rate, train.clips_per_video, seed
    )
    lengths = np.array([len(picture) for picture in corpus.pictures])
    np.savez(
        os.path.join(_OUTPUT.value, 'frames.npz'),
        data=np.frombuffer(b''.join(corpus.pictures), 'u1'),
        lengths=lengths,
    )
    np.savez_compressed(os.path.join(_OUTPUT.value, 'samples.npz'), frames=frames, sizes=sizes)
    model = build.make_learner(train, time, True)
    write_step(model, sampler, batch, time, seed, (len(corpus.pictures), *corpus.canvas, 3))


if __name__ == '__main__':
    command.run(main)
