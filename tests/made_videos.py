"""Real video files, whose frames tell their own number, for the tests of preparation."""

import fractions

import av
import numpy as np

HEIGHT, WIDTH = 48, 64


def picture(number, height=HEIGHT, width=WIDTH):
    """Ten stripes, black or white: the binary digits of the number."""
    digits = (number >> np.arange(10)) & 1
    stripes = np.repeat(digits * 220 + 15, width // 10)
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : len(stripes)] = stripes[None, :, None]
    return image


def numbers(frames):
    """Reads the numbers back: frames [time, height, width, 3] -> a list."""
    frames = np.stack(frames)
    width = frames.shape[2] // 10
    stripes = frames[:, :, : 10 * width].reshape(len(frames), frames.shape[1], 10, width, 3)
    return ((stripes.mean((1, 3, 4)) > 125) << np.arange(10)).sum(1).tolist()


def write(path, times, image_at=picture, codec='libx264', rotation=None, **options):
    """Encodes frame number n at times[n] seconds; returns the path as text."""
    options = {'crf': '5', 'preset': 'ultrafast', **options} if codec == 'libx264' else options
    rate = max(1, round(1 / np.diff(times).min())) if len(times) > 1 else 25
    tick = fractions.Fraction(1, rate if str(path).endswith('.avi') else 1000)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = image_at(0).shape[:2]
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.time_base = tick
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(image_at(number))
            frame.pts, frame.time_base = round(time / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def write_sound(path):
    """A file with sound alone."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('aac', rate=8000, layout='mono')
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), 'fltp', 'mono')
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def noisy_picture(number):
    """Hard to compress, so that a file cut in half has lost half of its frames."""
    noise = np.random.default_rng(number).integers(-12, 12, (HEIGHT, WIDTH, 1))
    return np.clip(picture(number) + noise, 0, 255).astype(np.uint8)
