"""How fast the parts of the system are on this machine, and how that compares with what it can do.

Each measurement runs in a process of its own, so that its peak memory is its own, and measures what
it is compared with in the same process: the ratios of one run mean something on a busy machine too,
the absolute figures only on a quiet one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import gc
import multiprocessing
import os
import time
from typing import Any

import numpy as np

Figures = dict[str, Any]


def in_own_process(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Runs `measure(*arguments)` in a fresh process; adds its peak memory, 'peak_gib'.

    Raises:
      RuntimeError: the process died, for want of memory for instance.
    """
    context = multiprocessing.get_context('spawn')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(sender, measure, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError(f'{measure.__name__}{arguments} did not finish.') from None
    finally:
        process.join()


def _measured(sender, measure, arguments) -> None:
    figures = measure(*arguments)
    sender.send({**figures, 'peak_gib': _peak_gib()})


def _peak_gib() -> float | None:
    """Largest resident memory of this process so far; None where the system is not Linux."""
    # Not from getrusage: there a new process starts with the peak of the one that made it.
    if not os.path.exists('/proc/self/status'):
        return None
    with open('/proc/self/status') as status:
        kib = next(line.split()[1] for line in status if line.startswith('VmHWM:'))
    return round(int(kib) / 2**20, 3)


def seconds_per_call(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Wall and processor seconds of one call, the mean over `repeats` after one to warm up."""
    function()
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - wall) / repeats, (time.process_time() - cpu) / repeats


def convolution_rate(dtype: str, repeats: int = 10) -> Figures:
    """GFLOP/s of a 3x3 convolution of 256 channels on 32x32 maps with its two gradients.

    The bulk of a training step is such convolutions.
    """
    import tensorflow as tf

    images = tf.cast(tf.random.stateless_normal([8, 32, 32, 256], [0, 1]), dtype)
    kernel = tf.cast(tf.random.stateless_normal([3, 3, 256, 256], [0, 2]), dtype)

    @tf.function
    def step(images, kernel):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            out = tf.nn.conv2d(images, kernel, 1, 'SAME')
        return [tf.reduce_sum(g) for g in tape.gradient(out, [images, kernel], out)]

    wall, cpu = seconds_per_call(lambda: step(images, kernel)[0].numpy(), repeats)
    work = 3 * 2 * 8 * 32 * 32 * 9 * 256 * 256
    return {'gflop_per_s': work / wall / 1e9, 'gflop_per_cpu_s': work / cpu / 1e9}


def training_step(view_size: int, batch: int, precision: str, repeats: int = 3) -> Figures:
    """Clips/s of `Learner.train_step` (T = 4, full width, Adam) on clips already in memory."""
    import tensorflow as tf

    from stfc3_tf import encoder, learner

    dtype = 'bfloat16' if precision == 'mixed_bfloat16' else 'float32'
    model = learner.Learner(encoder.resnet18(dtype_policy=precision))
    model.compile(tf.keras.optimizers.Adam(1e-4), clip_frames=4)
    rng = np.random.default_rng(0)
    views = rng.integers(0, 256, (batch, 2, 4, view_size, view_size, 3))
    clips = {
        'views': tf.constant(views, tf.uint8),
        'view_from_frame': tf.eye(3, batch_shape=[batch, 2]),
        'index': tf.range(batch, dtype=tf.int64),
    }
    step = tf.function(model.train_step)
    wall, cpu = seconds_per_call(lambda: step(clips)['loss'].numpy(), repeats)
    work = batch * clip_gflop(model, view_size)
    rate = convolution_rate(dtype)['gflop_per_s']
    return {
        'clips_per_s': batch / wall,
        'clips_per_cpu_s': batch / cpu,
        'gflop_per_clip': work / batch,
        **_against_machine(work / wall, rate),
    }


def walk_memory(nodes: int, channels: int = 512, frames: int = 4, batch: int = 1) -> Figures:
    """Seconds and memory of the walk alone, its loss and gradient, on features already computed.

    The memory counts from before the first call; 'maps' is how many nodes x nodes float32 matrices
    would fill it, for every clip.
    """
    import tensorflow as tf

    from stfc3_tf import walk

    shape = [batch, frames, nodes, channels]
    forward, backward = (
        tf.math.l2_normalize(tf.random.stateless_normal(shape, [0, n]), axis=-1) for n in (1, 2)
    )
    seeds = tf.tile([[0, 3]], [batch, 1])

    @tf.function
    def gradient(forward, backward):
        with tf.GradientTape() as tape:
            tape.watch([forward, backward])
            edges = walk.draw_dropped_edges(seeds, walk.transition_count(frames), nodes, 0.1)
            found = walk.palindromes(forward[:, :-1], forward, backward, 0.05, edges)
            visible = tf.ones([batch, nodes])
            losses = walk.cycle_losses(found.return_probability, visible, float(batch * nodes))
            loss = tf.reduce_sum(losses)
        return tape.gradient(loss, [forward, backward])

    before = _peak_gib()
    wall, _ = seconds_per_call(lambda: [g.numpy() for g in gradient(forward, backward)], 2)
    added = (_peak_gib() or 0.0) - (before or 0.0)
    return {
        'seconds_per_clip': wall / batch,
        'gib_per_clip': added / batch,
        'maps': added * 2**30 / (batch * nodes**2 * 4),
    }


def _against_machine(gflop_per_s: float, rate: float) -> Figures:
    return {
        'gflop_per_s': gflop_per_s,
        'machine_convolution_gflop_per_s': rate,
        'share_of_machine': gflop_per_s / rate,
    }


def clip_gflop(model: Any, view_size: int, frames: int = 4) -> float:
    """GFLOP of a clip of two tracks: three times those of the forward pass, as it has gradients."""
    convolutions = convolution_gflop(model.encoder, view_size, view_size)
    rows, columns = model.map_size(view_size)
    nodes, channels = rows * columns, model.encoder.output['head'].shape[-1]
    walk = 2 * nodes**2 * (3 * (frames - 1) * channels + (2 * frames - 3) * nodes)
    return 3 * (2 * frames * convolutions + walk / 1e9)


def convolution_gflop(model: Any, height: int, width: int) -> float:
    """GFLOP of a Keras model's convolutions on one frame; a multiplication and sum are two."""
    import tensorflow as tf

    work = 0
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Conv2D):
            part = tf.keras.Model(model.inputs, layer.output)
            rows, columns = part.compute_output_shape([1, height, width, 3])[1:3]
            work += 2 * layer.kernel.shape.num_elements() * rows * columns
    return work / 1e9


def input_pipeline(
    view_size: int = 256, height: int = 256, width: int = 340, clips: int = 48
) -> Figures:
    """Clips per processor-second of views and colour (the paper's sets), with and without JPEG."""
    import tensorflow as tf

    from stfc3_tf import colour, views
    from stfc3_tf.clips import synthetic

    scene = synthetic.scene(0, height, width)
    frames = tf.constant(np.stack([scene.frame(t / 8) for t in range(4)]))
    sampler = views.ViewSampler(view_size=view_size, colours=colour.PAPER)
    numbers = tf.data.Dataset.range(10**6)
    stream = numbers.map(lambda i: {'frames': frames, 'index': i, 'video': i})
    stream = iter(views.add_views(stream, sampler, 0))
    _, per_clip = seconds_per_call(lambda: next(stream)['views'].numpy(), clips)
    pictures = [tf.io.encode_jpeg(frame, quality=95) for frame in frames]
    _, decoding = seconds_per_call(lambda: [tf.io.decode_jpeg(p) for p in pictures], clips)
    return {
        'clips_per_cpu_s': 1 / per_clip,
        'with_jpeg_clips_per_cpu_s': 1 / (per_clip + decoding),
        'cores_for_75_clips_per_s': 75 * (per_clip + decoding),
    }


def features(height: int = 480, width: int = 854, repeats: int = 5) -> Figures:
    """Seconds a frame of stage-3 features (float32, full width), and their share of the machine."""
    import tensorflow as tf

    from stfc3_tf import encoder

    network = encoder.resnet18(head_widths=(8, 8))
    stage3 = tf.keras.Model(network.input, network.output['stage3'])
    frame = tf.random.stateless_normal([1, height, width, 3], [0, 0])
    call = tf.function(lambda x: stage3(x, training=False))
    wall, _ = seconds_per_call(lambda: call(frame).numpy(), repeats)
    work = convolution_gflop(stage3, height, width)
    rate = convolution_rate('float32')['gflop_per_s']
    return {
        'seconds_per_frame': wall,
        'gflop_per_frame': work,
        **_against_machine(work / wall, rate),
    }


def propagation(
    rows: int = 60, columns: int = 107, channels: int = 256, labels: int = 2, frames: int = 40
) -> Figures:
    """Seconds a frame of propagation at DAVIS 480p once the context is full."""
    from stfc3_tf import propagation as engine

    maps, first = smooth_maps(rows, columns, channels, frames), first_label(rows, columns, labels)
    propagator = engine.Propagator(crw_settings())
    propagator.start(maps[0], first)
    seconds = []
    for query in maps[1:]:
        start = time.perf_counter()
        out = np.asarray(propagator.step(query))
        seconds.append(time.perf_counter() - start)
    return {
        'seconds_per_frame': float(np.mean(seconds[-10:])),
        'mean_label': out.mean((0, 1)).tolist(),
    }


def crw_settings() -> Any:
    """CRW's protocol on DAVIS (m 20, r 12, k 10), whatever is configured."""
    from stfc3_tf import propagation as engine

    return engine.PropagationSettings(
        context=20,
        radius=12.0,
        window='disc',
        top_k=10,
        temperature=0.05,
        restrict_first=False,
        first_among_preceding=True,
        repeat_first=True,
        keep_ties=False,
    )


def propagation_against_brute_force(
    rows: int = 60, columns: int = 107, channels: int = 256, frames: int = 24
) -> Figures:
    """The engine and the definition on the same frame: seconds of each, and how they agree."""
    import tensorflow as tf

    from stfc3_tf import propagation as engine
    from stfc3_tf import reference

    settings = crw_settings()
    maps = smooth_maps(rows, columns, channels, frames)
    rng = np.random.default_rng(1)
    context = np.stack([maps[0], *maps[-21:-1]])
    context_labels = rng.dirichlet([0.2, 0.2], (21, rows, columns)).astype('f4')
    unrestricted = np.array([True] + [False] * 20)
    fast = tf.function(lambda *given: engine.propagate(*given, settings))
    arguments = [tf.constant(a) for a in (maps[-1], context, context_labels, unrestricted)]
    ours, _ = seconds_per_call(lambda: fast(*arguments).numpy(), 5)
    brute, _ = seconds_per_call(lambda: reference.brute_force(*arguments, settings), 1)
    a, b = fast(*arguments).numpy(), reference.brute_force(*arguments, settings)
    return {
        'seconds_per_frame': ours,
        'brute_force_seconds_per_frame': brute,
        'times_faster': brute / ours,
        'largest_difference': float(np.abs(a - b).max()),
        'iou': overlap(a.argmax(-1), b.argmax(-1)),
    }


def whole_loop(height: int = 480, width: int = 854, frames: int = 40) -> Figures:
    """Seconds a frame from uint8 frames to masks, by the tracker of `tools.evaluate`."""
    from stfc3_tf import baselines

    encoder, codec = baselines.RandomFeatures(), _mask_codec()
    shown, first = _scene(height, width, frames)
    _timed_loop(encoder, shown[:2], first, codec)
    seconds, _ = _timed_loop(encoder, shown, first, codec)
    return {'seconds_per_frame': seconds}


def whole_loop_against_brute_force(
    height: int = 480, width: int = 854, frames: int = 40, compared: Sequence[int] = (1, 20, 39)
) -> Figures:
    """The whole loop against features and brute force, on some of its frames, in one process.

    Brute force is given the features and the labels that the loop had before the frame.

    Args:
      height: pixels.
      width: pixels.
      frames: in the loop.
      compared: numbers of the frames on which brute force is run.
    """
    from stfc3_tf import baselines, reference

    plain = baselines.RandomFeatures()
    encoder, codec = _RecordedEncoder(plain), _RecordedCodec(_mask_codec())
    shown, first = _scene(height, width, frames)
    _timed_loop(plain, shown[:2], first, _mask_codec())
    seconds, masks = _timed_loop(encoder, shown, first, codec)
    spent, differences, overlaps = [], [], []
    for frame in compared:
        before = [0, *(max(0, n) for n in range(frame - crw_settings().context, frame))]
        maps = np.stack([encoder.maps[n] for n in before])
        labels = np.stack([codec.labels[n] for n in before])
        unrestricted = np.arange(len(before)) == 0
        start = time.perf_counter()
        soft = reference.brute_force(
            encoder.maps[frame], maps, labels, unrestricted, crw_settings()
        )
        spent.append(time.perf_counter() - start)
        differences.append(np.abs(soft - codec.labels[frame]).max())
        overlaps.append(overlap(_mask_codec().decode(soft, codec.geometry), masks[frame]))
    parts = float(np.mean(encoder.seconds)), float(np.mean(spent))
    return {
        'seconds_per_frame': seconds,
        'features_seconds_per_frame': parts[0],
        'brute_force_seconds_per_frame': parts[1],
        'times_faster': sum(parts) / seconds,
        'largest_difference': float(max(differences)),
        'smallest_iou': min(overlaps),
    }


def _scene(height: int, width: int, frames: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of a built-in scene, and the mask of its objects in the first."""
    from stfc3_tf.clips import synthetic

    scene = synthetic.scene(0, height, width)
    return [scene.frame(number / 24) for number in range(frames)], scene.masks(0.0)


def _mask_codec() -> Any:
    """CRW's, whatever is configured."""
    from stfc3_tf.benchmarks import codecs

    return codecs.MaskCodec(shrink='bilinear', normalise='none', decide_at='input')


def _timed_loop(
    encoder: Any, frames: list[np.ndarray], first: np.ndarray, codec: Any
) -> tuple[float, list[np.ndarray]]:
    """Seconds a frame of tracking, and the masks."""
    from stfc3_tf import tracking

    size = tracking.InputSize(rule='native', size=0, long_side_multiple=1, interpolation='bilinear')
    tracker = tracking.PropagationTracker(encoder, crw_settings(), size)
    start = time.perf_counter()
    masks = list(tracker.track(frames, first, codec, first.shape))
    return (time.perf_counter() - start) / len(frames), masks


class _RecordedEncoder:
    """An encoder that keeps its features and the seconds they took."""

    def __init__(self, encoder: Any):
        self._encoder = encoder
        self.cell_grid = encoder.cell_grid
        self.maps, self.seconds = [], []

    def features(self, frames: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        found = self._encoder.features(frames)
        self.seconds.append(time.perf_counter() - start)
        self.maps.append(found[0])
        return found


class _RecordedCodec:
    """A codec that keeps the soft labels of every frame."""

    def __init__(self, codec: Any):
        self._codec = codec
        self.geometry, self.labels = None, []

    def encode(self, label: np.ndarray, geometry: Any) -> np.ndarray:
        self.geometry = geometry
        self.labels.append(self._codec.encode(label, geometry))
        return self.labels[0]

    def decode(self, soft: np.ndarray, geometry: Any) -> np.ndarray:
        self.labels.append(soft)
        return self._codec.decode(soft, geometry)


def overlap(mask: np.ndarray, other: np.ndarray) -> float:
    """The smallest intersection over union of the objects 1, 2, ... of two masks; 1 without any."""
    from stfc3_tf import metrics

    objects = range(1, 1 + int(max(mask.max(), other.max())))
    return min((metrics.region_similarity(mask == n, other == n) for n in objects), default=1.0)


def smooth_maps(rows: int, columns: int, channels: int, frames: int) -> np.ndarray:
    """Unit-length feature maps [frames, rows, columns, channels], smooth in space and time."""
    import cv2

    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((channels, rows // 4 + 8, columns // 4 + 8)).astype('f4')
    enlarged = [cv2.resize(c, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for c in coarse]
    picture = np.stack(enlarged, -1)
    shifts = np.arange(frames) % 16
    maps = np.stack([picture[s : s + rows, s : s + columns] for s in shifts])
    maps += 0.2 * rng.standard_normal(maps.shape).astype('f4')
    return maps / np.linalg.norm(maps, axis=-1, keepdims=True)


def first_label(rows: int, columns: int, labels: int) -> np.ndarray:
    """One-hot label map [rows, columns, labels]: vertical stripes."""
    stripes = np.arange(columns) * labels // columns
    return np.eye(labels, dtype='f4')[np.broadcast_to(stripes, (rows, columns))]
