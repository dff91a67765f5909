"""How fast the parts of the system are on this machine, and how that compares with what it can do.

Each measurement runs in a process of its own, so that its peak memory is its own, and measures the
machine's rate of convolutions beside what it is compared with: the ratios of one run mean something on a busy
machine too, the absolute figures only on a quiet one.
"""

from __future__ import annotations

from collections.abc import Callable
import gc
import multiprocessing
import os
import resource
import time
from typing import Any

import numpy as np

Figures = dict[str, Any]


def in_own_process(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Runs `measure(*arguments)` in a fresh process; adds its peak memory, 'peak_gib', to its figures.

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
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
    sender.send({**figures, 'peak_gib': round(peak, 2)})


def seconds_per_call(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Wall seconds and processor seconds of one call, the mean over `repeats` after one to warm up."""
    function()
    gc.collect()
    cpu, wall = _processor_seconds(), time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - wall) / repeats, (_processor_seconds() - cpu) / repeats


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system


def convolution_rate(dtype: str, repeats: int = 10) -> Figures:
    """GFLOP/s of a 3x3 convolution of 256 channels on 32x32 maps with its two gradients, the bulk of a step."""
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
    """Clips/s of `Learner.train_step` (T = 4, full width, Adam) on clips that are already in memory."""
    import tensorflow as tf

    from stfc3_tf import encoder, learner
    dtype = 'bfloat16' if precision == 'mixed_bfloat16' else 'float32'
    model = learner.Learner(encoder.resnet18(dtype_policy=precision))
    model.compile(tf.keras.optimizers.Adam(1e-4), clip_frames=4)
    rng = np.random.default_rng(0)
    clips = {'views': tf.constant(rng.integers(0, 256, (batch, 2, 4, view_size, view_size, 3)), tf.uint8),
             'view_from_frame': tf.eye(3, batch_shape=[batch, 2]), 'index': tf.range(batch, dtype=tf.int64)}
    step = tf.function(model.train_step)
    wall, cpu = seconds_per_call(lambda: step(clips)['loss'].numpy(), repeats)
    work = batch * clip_gflop(model, view_size)
    rate = convolution_rate(dtype)['gflop_per_s']
    return {'clips_per_s': batch / wall, 'clips_per_cpu_s': batch / cpu, 'gflop_per_clip': work / batch,
            'gflop_per_s': work / wall, 'machine_convolution_gflop_per_s': rate, 'share_of_machine': work / wall / rate}


def clip_gflop(model: Any, view_size: int, frames: int = 4) -> float:
    """Work of a clip of two tracks forward and backward: three times the forward convolutions and walk products."""
    import tensorflow as tf
    one_frame = tf.keras.Input([view_size, view_size, 3], batch_size=1)
    work = 0
    for layer in model.encoder.layers:
        if isinstance(layer, tf.keras.layers.Conv2D):
            work += 2 * layer.kernel.shape.num_elements() * _cells_of(model.encoder, layer, one_frame)
    rows, columns = model.map_size(view_size)
    nodes, channels = rows * columns, model.encoder.output['head'].shape[-1]
    walk = 2 * nodes ** 2 * (3 * (frames - 1) * channels + (2 * frames - 3) * nodes)
    return 3 * (2 * frames * work + walk) / 1e9


def _cells_of(encoder: Any, layer: Any, images: Any) -> int:
    """Rows times columns of what a layer of the encoder puts out."""
    import tensorflow as tf
    part = tf.keras.Model(encoder.inputs, layer.output)
    return int(np.prod(part.compute_output_shape(images.shape)[1:3]))


def input_pipeline(view_size: int = 256, height: int = 256, width: int = 340, clips: int = 48) -> Figures:
    """Clips per processor-second of views and colour (the paper's sets), and of decoding JPEG frames before it."""
    import tensorflow as tf

    from stfc3_tf import colour, views
    from stfc3_tf.clips import synthetic
    scene = synthetic.scene(0, height, width)
    frames = tf.constant(np.stack([scene.frame(t / 8) for t in range(4)]))
    sampler = views.ViewSampler(view_size=view_size, colours=colour.PAPER)
    stream = tf.data.Dataset.range(10 ** 6).map(lambda i: {'frames': frames, 'index': i, 'video': i})
    stream = iter(views.add_views(stream, sampler, 0))
    _, per_clip = seconds_per_call(lambda: next(stream)['views'].numpy(), clips)
    pictures = [tf.io.encode_jpeg(frame, quality=95) for frame in frames]
    _, decoding = seconds_per_call(lambda: [tf.io.decode_jpeg(p) for p in pictures], clips)
    return {'clips_per_cpu_s': 1 / per_clip, 'with_jpeg_clips_per_cpu_s': 1 / (per_clip + decoding),
            'cores_for_75_clips_per_s': 75 * (per_clip + decoding)}


def features(height: int = 480, width: int = 854, repeats: int = 5) -> Figures:
    """Seconds a frame of stage-3 features (float32, full width), and their share of the machine's rate."""
    import tensorflow as tf

    from stfc3_tf import encoder
    network = encoder.resnet18(head_widths=(8, 8))
    stage3 = tf.keras.Model(network.inputs, network.outputs[0] if isinstance(network.outputs, list)
                            else network.output['stage3'])
    frame = tf.random.stateless_normal([1, height, width, 3], [0, 0])
    call = tf.function(lambda x: stage3(x, training=False))
    wall, _ = seconds_per_call(lambda: call(frame).numpy(), repeats)
    return {'seconds_per_frame': wall}


def propagation(rows: int = 60, columns: int = 107, channels: int = 256, labels: int = 2, frames: int = 40) -> Figures:
    """Seconds a frame of propagation at DAVIS 480p (m 20, r 12, k 10) once the context is full."""
    from stfc3_tf import propagation as engine
    maps, first = smooth_maps(rows, columns, channels, frames), first_label(rows, columns, labels)
    propagator = engine.Propagator(engine.PropagationSettings(context=20, radius=12.0, top_k=10, temperature=0.05))
    propagator.start(maps[0], first)
    seconds = []
    for query in maps[1:]:
        start = time.perf_counter()
        out = np.asarray(propagator.step(query))
        seconds.append(time.perf_counter() - start)
    return {'seconds_per_frame': float(np.mean(seconds[-10:])), 'mean_label': out.mean((0, 1)).tolist()}


def propagation_against_brute_force(rows: int = 60, columns: int = 107, channels: int = 256, frames: int = 24) -> Figures:
    """The engine and the definition on the same frame: seconds of each, and how their labels agree.

    Brute force compares every cell with every cell of all 21 context frames, masks, sorts and gathers, as
    the reference scripts do.
    """
    import tensorflow as tf

    from stfc3_tf import propagation as engine
    settings = engine.PropagationSettings(context=20, radius=12.0, top_k=10, temperature=0.05)
    maps = smooth_maps(rows, columns, channels, frames)
    rng = np.random.default_rng(1)
    context = np.stack([maps[0], *maps[-21:-1]])
    context_labels = rng.dirichlet([0.2, 0.2], (21, rows, columns)).astype('f4')
    unrestricted = np.array([True] + [False] * 20)
    fast = tf.function(lambda q, f, l, u: engine.propagate(q, f, l, u, settings))
    arguments = [tf.constant(a) for a in (maps[-1], context, context_labels, unrestricted)]
    ours, _ = seconds_per_call(lambda: fast(*arguments).numpy(), 5)
    brute, _ = seconds_per_call(lambda: _brute_force(*arguments, settings), 1)
    a, b = fast(*arguments).numpy(), _brute_force(*arguments, settings)
    mask_a, mask_b = a.argmax(-1) == 1, b.argmax(-1) == 1
    return {'seconds_per_frame': ours, 'brute_force_seconds_per_frame': brute, 'times_faster': brute / ours,
            'largest_difference': float(np.abs(a - b).max()), 'iou': float((mask_a & mask_b).sum() / (mask_a | mask_b).sum())}


def _brute_force(query, context, labels, unrestricted, settings) -> np.ndarray:
    import tensorflow as tf
    frames, rows, columns, channels = context.shape
    y, x = np.divmod(np.arange(rows * columns), columns)
    far = np.hypot(y[:, None] - y, x[:, None] - x) >= settings.radius
    similarity = tf.einsum('qc,fkc->qfk', tf.reshape(query, [-1, channels]), tf.reshape(context, [frames, -1, channels]))
    masked = tf.where(far[:, None] & ~unrestricted.numpy()[None, :, None], -1e10, similarity)
    values, cells = tf.math.top_k(tf.reshape(masked, [rows * columns, -1]), settings.top_k)
    kept = tf.gather(tf.reshape(labels, [-1, labels.shape[-1]]), cells)
    weights = tf.nn.softmax(values / settings.temperature)
    return tf.reshape(tf.einsum('qk,qkl->ql', weights, kept), [rows, columns, -1]).numpy()


def smooth_maps(rows: int, columns: int, channels: int, frames: int) -> np.ndarray:
    """Unit-length feature maps [frames, rows, columns, channels] that change slowly in space and time."""
    import cv2
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((channels, rows // 4 + 8, columns // 4 + 8)).astype('f4')
    picture = np.stack([cv2.resize(c, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC) for c in coarse], -1)
    shifts = np.arange(frames) % 16
    maps = np.stack([picture[s:s + rows, s:s + columns] for s in shifts])
    maps += 0.2 * rng.standard_normal(maps.shape).astype('f4')
    return maps / np.linalg.norm(maps, axis=-1, keepdims=True)


def first_label(rows: int, columns: int, labels: int) -> np.ndarray:
    """One-hot label map [rows, columns, labels]: vertical stripes."""
    return np.eye(labels, dtype='f4')[np.broadcast_to(np.arange(columns) * labels // columns, (rows, columns))]
