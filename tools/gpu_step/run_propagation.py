"""Time exported label propagation; needs what `run_step.py` needs: JAX, NumPy and OpenCV.

    python run_propagation.py OUT.json FOLDER [FOLDER ...] --repeats=5

Each FOLDER was written by `export_propagation.py`. Printed and written are frames per second, the
device's memory, and how far the labels of the last frames are from those of the propagator for
CPUs.
"""

import argparse
import json
import os
import time

import numpy as np
from random_video import random_video
import run_step


def measure(folder, repeats):
    """Return the figures of an exported propagation.

    Args:
      folder: that `export_propagation.py` wrote.
      repeats: calls that are timed, after a first one.
    """
    with open(os.path.join(folder, 'propagation.json')) as file:
        about = json.load(file)
    videos = [random_video(n, about['shape'], about['labels']) for n in range(about['videos'])]
    inputs = [run_step.put(np.stack(each)) for each in zip(*videos)]
    executable = run_step.compiled(os.path.join(folder, 'propagation.hlo'))
    last = np.asarray(run_step.execute(executable, inputs)[0])[:, -1]
    expected = np.load(os.path.join(folder, 'last_labels.npy'))
    seconds = []
    for _ in range(repeats):
        start = time.time()
        run_step.execute(executable, inputs)[0].block_until_ready()
        seconds.append(time.time() - start)
    carried = about['videos'] * (about['shape'][0] - 1)
    return {
        **about,
        'device': run_step.DEVICE.device_kind,
        'frames_per_s': [carried / each for each in sorted(seconds)],
        'memory': run_step.DEVICE.memory_stats(),
        'largest_difference': float(np.abs(last - expected).max()),
        'same_label': float(np.mean(last.argmax(-1) == expected.argmax(-1))),
    }


def main():
    """Measure every exported propagation and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument('out')
    parser.add_argument('folder', nargs='+')
    parser.add_argument('--repeats', type=int, default=5)
    arguments = parser.parse_args()
    results = {}
    for folder in arguments.folder:
        results[folder] = figures = measure(folder, arguments.repeats)
        for name, value in figures.items():
            print(f'{folder}: {name} {value}', flush=True)
        with open(arguments.out, 'w') as file:
            json.dump(results, file, default=str, indent=1)


if __name__ == '__main__':
    main()
