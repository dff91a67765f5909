"""A DAVIS data set of one sequence: a red square that moves over blue."""

import numpy as np
from PIL import Image


def make_davis(root):
    (root / 'ImageSets/2017').mkdir(parents=True)
    (root / 'ImageSets/2017/val.txt').write_text('ball\n')
    for kind in ('JPEGImages', 'Annotations'):
        (root / kind / '480p/ball').mkdir(parents=True)
    for number in range(4):
        mask = np.zeros((64, 96), np.uint8)
        mask[16:48, 8 + 16 * number : 40 + 16 * number] = 1
        frame = np.where(mask[..., None] > 0, [220, 40, 30], [30, 90, 200]).astype(np.uint8)
        Image.fromarray(frame).save(root / f'JPEGImages/480p/ball/{number:05d}.jpg', quality=95)
        Image.fromarray(mask).save(root / f'Annotations/480p/ball/{number:05d}.png')
    return f'--data_dir={root}'
