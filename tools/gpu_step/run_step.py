"""Run exported training steps; needs only JAX, NumPy and OpenCV, which decodes the frames.

    python run_step.py OUT STEP [STEP ...] --steps=1600 --learning_rate=1e-3

Each STEP is a folder that `export_step.py` wrote; all of them train on the clips of the first. The
learning rate rises over 50 steps, then falls to zero along a cosine. Written to OUT:

    results.json      figures of every step, clips per second, memory, the device's matrix rate
    <step>_0.npz      the trained encoder
    <step>_1.npz      its stage 4 and head in half precision; label propagation uses neither
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
import json
import os
import re
import time

import cv2
import jax
from jax._src.lib import xla_client
import jax.numpy as jnp
import numpy as np

jax.config.update('jax_enable_x64', True)  # TensorFlow's counters are int64
DEVICE = jax.devices()[0]
AHEAD = 4  # steps the host may be ahead of the device


def put(array):
    """Copy an array to the device."""
    return jax.device_put(array, DEVICE)


def compiled(path):
    """Compile a serialised HLO module."""
    with open(path, 'rb') as file:
        computation = xla_client.XlaComputation(file.read())
    module = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
    # Newer importers refuse HLO's copies, which change nothing.
    module = re.sub(
        r'mhlo\.copy (%\w+) : (tensor<[^>]*>)', r'stablehlo.reshape \1 : (\2) -> \2', module
    )
    start = time.time()
    devices = xla_client.DeviceList((DEVICE,))
    executable = DEVICE.client.compile_and_load(module, devices, xla_client.CompileOptions())
    print(f'{path}: compiled in {time.time() - start:.0f} s', flush=True)
    return executable


def execute(executable, arguments):
    """Run a compiled module; return its outputs, arrays on the device."""
    return [
        shards[0]
        for shards in executable.execute_sharded(arguments).disassemble_into_single_device_arrays()
    ]


class Step:
    """A compiled training step and its variables."""

    def __init__(self, folder):
        with open(os.path.join(folder, 'step.json')) as file:
            self.about = json.load(file)
        self.name = os.path.basename(os.path.normpath(folder))
        self.executable = compiled(os.path.join(folder, 'step.hlo'))
        seeds = np.array(self.about['seeds'], 'i4')
        kernels = execute(compiled(os.path.join(folder, 'initial.hlo')), [put(seeds)])
        values = np.load(os.path.join(folder, 'values.npz'))
        self.state = [
            put(values[f'v{i}']) if v['kernel'] is None else kernels[v['kernel']]
            for i, v in enumerate(self.about['variables'])
        ]
        self.rate = next(
            i
            for i, v in enumerate(self.about['variables'])
            if v['name'].startswith('learning_rate')
        )

    def __call__(self, inputs, learning_rate):
        """Take a step; return its figures, float32 on the device."""
        self.state[self.rate] = put(np.float32(learning_rate))
        outputs = execute(self.executable, [*inputs, *self.state])
        for output, parameter in self.about['output_to_parameter'].items():
            self.state[parameter - self.about['inputs']] = outputs[int(output)]
        return outputs[0]

    def save(self, out):
        """Write the encoder to <out>/<step>_0.npz and <out>/<step>_1.npz."""
        late = lambda name: name.startswith(('layer4', 'head'))
        arrays = {
            v['name']: np.asarray(self.state[i])
            for i, v in enumerate(self.about['variables'])
            if v['of_encoder']
        }
        np.savez_compressed(
            os.path.join(out, f'{self.name}_0.npz'),
            **{k: a for k, a in arrays.items() if not late(k)},
        )
        np.savez_compressed(
            os.path.join(out, f'{self.name}_1.npz'),
            **{k: a.astype('f2') if a.ndim == 4 else a for k, a in arrays.items() if late(k)},
        )


def read_clips(folder, canvas):
    """Read the clips of an exported step.

    Returns:
      All frames, uint8 `canvas` = [frames, height, width, 3] on the device; frame numbers, int32
      [samples, time]; and frame sizes, int32 [samples, 2] as (height, width).
    """
    stored, samples = (
        np.load(os.path.join(folder, f'{name}.npz')) for name in ('frames', 'samples')
    )
    data, lengths = stored['data'], stored['lengths']
    ends = np.cumsum(lengths, dtype='i8')
    frames = np.zeros(canvas, 'u1')

    def decode(number):
        picture = data[ends[number] - lengths[number] : ends[number]]
        image = cv2.imdecode(picture, cv2.IMREAD_COLOR)[:, :, ::-1]
        frames[number, : image.shape[0], : image.shape[1]] = image

    with ThreadPoolExecutor() as pool:
        list(pool.map(decode, range(len(ends))))
    return put(frames), samples['frames'].astype('i4'), samples['sizes'].astype('i4')


def matrix_rate(dtype, size=8192, products=20):
    """Measure products of square matrices.

    Args:
      dtype: of the matrices.
      size: rows and columns of each.
      products: in each of 5 measurements.

    Returns:
      TFLOP/s, the median of the measurements.
    """
    a, b = (
        jax.random.normal(jax.random.PRNGKey(key), (size, size)).astype(dtype) for key in (0, 1)
    )
    product = jax.jit(jnp.matmul)
    product(a, b).block_until_ready()
    seconds = []
    for _ in range(5):
        start = time.time()
        for _ in range(products):
            result = product(a, b)
        result.block_until_ready()
        seconds.append((time.time() - start) / products)
    return 2 * size**3 / sorted(seconds)[2] / 1e12


def train(step, clips, steps, peak):
    """Run `steps` steps.

    Args:
      step: a `Step`.
      clips: what `read_clips` returns.
      steps: how many.
      peak: the largest learning rate.

    Returns:
      The figures of every step, and clips per second without the first ten steps.
    """
    frames, samples, sizes = clips
    batch, running, figures, ticks = step.about['batch'], [], [], []
    for n in range(steps):
        rows = np.arange(n * batch, (n + 1) * batch)
        rate = peak * min(1, (n + 1) / 50) * 0.5 * (1 + np.cos(np.pi * n / steps))
        running.append(step([frames, put(samples[rows]), put(sizes[rows]), put(rows)], rate))
        while running and (len(running) >= AHEAD or n == steps - 1):
            figures.append(np.asarray(running.pop(0)).tolist())
            ticks.append(time.time())
            if len(figures) % 50 == 0:
                print(
                    step.name,
                    len(figures),
                    *(f'{value:.3f}' for value in np.mean(figures[-50:], axis=0)),
                    flush=True,
                )
    skip = min(10, len(ticks) // 2)
    return figures, batch * (len(ticks) - 1 - skip) / (ticks[-1] - ticks[skip])


def main():
    """Train every exported step and write what it gave."""
    parser = argparse.ArgumentParser()
    parser.add_argument('out')
    parser.add_argument('step', nargs='+')
    parser.add_argument('--steps', type=int, default=1600)
    parser.add_argument('--learning_rate', type=float, default=1e-3)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    results = {'device': DEVICE.device_kind}
    if DEVICE.platform != 'cpu':
        results['matrix_tflops'] = {dtype: matrix_rate(dtype) for dtype in ('bfloat16', 'float32')}
    clips = None
    for folder in arguments.step:
        step = Step(folder)
        clips = clips or read_clips(folder, step.about['canvas'])
        figures, rate = train(step, clips, arguments.steps, arguments.learning_rate)
        step.save(arguments.out)
        results[step.name] = {
            'clips_per_s': rate,
            'memory': DEVICE.memory_stats(),
            'names': step.about['figures'],
            'figures': figures,
        }
        with open(os.path.join(arguments.out, 'results.json'), 'w') as file:
            json.dump(results, file, default=str)


if __name__ == '__main__':
    main()
