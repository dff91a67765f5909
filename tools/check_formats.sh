#!/usr/bin/env bash
# Read exports of the clip in the box with libraries of other tools, and labels that they write:
# datumaro (CVAT), sleap-io (COCO, SLEAP). They do not fit beside TensorFlow 2.15, so they get an
# environment of their own. VENV names the environment of this package; it needs the extra formats.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(realpath -s "${VENV:-.venv}")/bin/python
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
samples=stfc3_tf/samples

"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-input \
  datumaro sleap-io
propagate() { CUDA_VISIBLE_DEVICES=-1 "$python" -m tools.propagate --video=$samples/cup.mp4 --end=5 "$@"; }
propagate --mask=$samples/cup_mask.png --formats=cvat --output_dir="$work/masks"
propagate --points=$samples/cup_points.json --formats=cvat,coco --output_dir="$work/points"

"$work/venv/bin/python" - "$work" <<'PYTHON'
import csv
import pathlib
import sys

import datumaro
import numpy as np
from PIL import Image
from pycocotools import mask as run_lengths
import sleap_io

work = pathlib.Path(sys.argv[1])
masks, points = work / 'masks', work / 'points'
with open(points / 'tracks.csv', newline='') as file:
    rows = list(csv.DictReader(file))
names = list(dict.fromkeys(row['name'] for row in rows))
# [frames, points, 2], (x, y)
tracks = np.array([[row['x'], row['y']] for row in rows], float)
order = np.lexsort(([names.index(row['name']) for row in rows], [int(row['frame']) for row in rows]))
tracks = tracks[order].reshape(-1, len(names), 2)

read = datumaro.Dataset.import_from(str(masks / 'cvat_masks.xml'), 'cvat')
assert len(read) == len(tracks) == 6
for item in read:
    ours = np.asarray(Image.open(masks / 'masks' / f'{item.attributes["frame"]:06d}.png'))
    for shape in item.annotations:
        parts = run_lengths.frPyObjects([shape.points], *ours.shape)
        found, mask = run_lengths.decode(run_lengths.merge(parts)) > 0, ours == shape.label + 1
        assert (found & mask).sum() / (found | mask).sum() > 0.999, (item.id, shape.label)
print('datumaro reads the tracks of masks of CVAT: the masks are the same.')

read = datumaro.Dataset.import_from(str(points / 'cvat_points.xml'), 'cvat')
for item in read:
    for shape in item.annotations:
        ours = tracks[item.attributes['frame'], shape.label] + 0.5  # CVAT counts from corners.
        np.testing.assert_allclose(shape.points, ours, atol=0.01)
print('datumaro reads the tracks of points of CVAT: the points are the same.')

size = Image.open(masks / 'masks' / '000000.png').size
for number in range(len(tracks)):  # sleap-io leaves out labels of pictures that it does not find.
    Image.new('RGB', size).save(points / 'coco' / f'{number:06d}.jpg')
labels = sleap_io.load_coco(str(points / 'coco' / 'keypoints.json'), str(points / 'coco'))
assert len(labels) == len(tracks)
for number, frame in enumerate(labels):
    np.testing.assert_allclose(frame.numpy()[0], tracks[number], atol=0.01)
print('sleap-io reads the key points of COCO: the points are the same.')
sleap_io.save_slp(labels, str(work / 'labels.slp'), embed=False)
PYTHON

propagate --points="$work/labels.slp" --output_dir="$work/again"
# All frames are labelled, so the tracks are those of the labels.
cut -d, -f1,2,4,5 "$work/points/tracks.csv" >"$work/before.csv"
cut -d, -f1,2,4,5 "$work/again/tracks.csv" | diff "$work/before.csv" -
echo 'stfc3_tf reads what sleap-io wrote for SLEAP: the points are the same.'
