"""Real video files whose frames show their own number."""

import fractions
import struct

import av
import numpy as np

HEIGHT, WIDTH = 48, 64


def picture(number, height=HEIGHT, width=WIDTH):
    """Return ten stripes, black or white: the binary digits of the number."""
    digits = (number >> np.arange(10)) & 1
    stripes = np.repeat(digits * 220 + 15, width // 10)
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : len(stripes)] = stripes[None, :, None]
    return image


def numbers(frames):
    """Read the numbers back: frames [time, height, width, 3] -> a list."""
    frames = np.stack(frames)
    width = frames.shape[2] // 10
    stripes = frames[:, :, : 10 * width].reshape(len(frames), frames.shape[1], 10, width, 3)
    return ((stripes.mean((1, 3, 4)) > 125) << np.arange(10)).sum(1).tolist()


def write(
    path,
    times,
    image_at=picture,
    codec='libx264',
    rotation=None,
    pix_fmt='yuv420p',
    format=None,
    pixel_aspect=None,
    durations=None,
    **options,
):
    """Encode frame number n at times[n] seconds.

    Args:
      path: of the file; its ending names the container unless `format` does.
      times: seconds.
      image_at: number -> uint8 [height, width, 3].
      codec: name of the encoder.
      rotation: of an MP4, degrees anticlockwise by which players are to turn it.
      pix_fmt: of the encoded frames.
      format: of the container.
      pixel_aspect: width / height of a pixel.
      durations: of the packets in the order decoded, in seconds.
      **options: of the encoder.

    Returns:
      The path as text.
    """
    options = {'crf': '5', 'preset': 'ultrafast', **options} if codec == 'libx264' else options
    steps = np.diff(times)
    rate = max(1, round(1 / steps[steps > 0].min())) if len(times) > 1 else 25
    # AVI and MPEG-1 and -2 know only a frame's place at a constant rate.
    constant = str(path).endswith(('.avi', '.mpg')) or codec in ('mpeg1video', 'mpeg2video')
    tick = fractions.Fraction(1, rate if constant else 1000)
    with av.open(f'file:{path}', 'w', format=format) as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = image_at(0).shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = tick
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        packets = []
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(image_at(number))
            frame.pts, frame.time_base = round(time / tick), tick
            packets += stream.encode(frame)
        packets += stream.encode()
        for number, packet in enumerate(packets):
            if durations is not None:
                packet.duration = round(durations[number] / tick)
            container.mux(packet)
    return str(path) if rotation is None else turn(path, rotation)


def turn(path, degrees):
    """Make players turn an MP4 anticlockwise by a multiple of 90 degrees."""
    cosine, sine = (round(f(np.radians(degrees))) for f in (np.cos, np.sin))
    return show_by_matrix(path, cosine, -sine, sine, cosine)


def show_by_matrix(path, a, b, c, d):
    """Patch the track header of an MP4: x, y is shown at a x + c y, b x + d y (ISO 14496-12)."""
    with open(path, 'rb') as file:
        content = bytearray(file.read())
    at = content.index(b'tkhd') - 4 + 48
    one = 1 << 16
    struct.pack_into('>6i', content, at, a * one, b * one, 0, c * one, d * one, 0)
    with open(path, 'wb') as file:
        file.write(content)
    return str(path)


def write_grey_avi(path, images, rate=25):
    """Write an AVI of 8-bit pixels with the palette in its header, as microscopes do."""
    height, width = images[0].shape[:2]
    rows = [np.pad(image[::-1, :, 0], ((0, 0), (0, -width % 4))) for image in images]
    palette = b''.join(struct.pack('<BBBB', grey, grey, grey, 0) for grey in range(256))
    packets = [np.ascontiguousarray(image).tobytes() for image in rows]
    return _write_avi(
        path, packets, [True] * len(packets), (height, width), rate, bytes(4), palette
    )


def write_packed_avi(path, count, rate=25):
    """Write an AVI as XviD and DivX do: a B-frame shares the packet of the frame after it."""
    packets = _mpeg4_packets(count, rate)
    mark = b'\0\0\1\xb2DivX503b1393p'
    packed, keys, n = [], [], 0
    while n < len(packets):
        data, key = packets[n]
        at = data.index(b'\0\0\1\xb6')  # Where the picture begins, after the headers.
        data = data[:at] + mark + data[at:] if key else data
        shared = n + 1 < len(packets) and _is_b_frame(packets[n + 1][0])
        packed += [data + packets[n + 1][0], b'\0\0\1\xb6\x51\x00\x7f'] if shared else [data]
        keys += [key, False] if shared else [key]
        n += 2 if shared else 1
    return _write_avi(path, packed, keys, (HEIGHT, WIDTH), rate, b'XVID')


def _mpeg4_packets(count, rate):
    """Encode numbered frames with a B-frame between each two others: (bytes, is key) each."""
    context = av.CodecContext.create('mpeg4', 'w')
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, 'yuv420p'
    context.time_base, context.bit_rate = fractions.Fraction(1, rate), 4_000_000
    context.options = {'bf': '1', 'g': '12', 'b_strategy': '0', 'sc_threshold': '1000000000'}
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(picture(number))
        frame.pts, frame.time_base = number, context.time_base
        packets += context.encode(frame)
    packets = [(bytes(p), bool(p.is_keyframe)) for p in packets + context.encode(None)]
    header = b'' if packets[0][0].startswith(b'\0\0\1\xb0') else bytes(context.extradata or b'')
    return [(header + packets[0][0], packets[0][1]), *packets[1:]]


def _is_b_frame(data):
    return data[data.index(b'\0\0\1\xb6') + 4] >> 6 == 2


def _write_avi(path, packets, keys, size, rate, codec, palette=b''):
    height, width = size
    bits, largest = (8 if palette else 24), max(map(len, packets))
    image = struct.pack('<IiiHH4sIiiII', 40, width, height, 1, bits, codec, largest, 0, 0, 0, 0)
    image = image[:32] + struct.pack('<II', len(palette) // 4, 0) + palette
    main = (1_000_000 // rate, largest * rate, 0, 16, len(packets), 0, 1, largest, width, height)
    header = struct.pack('<14I', *main, 0, 0, 0, 0)
    stream = b'vids' + (b'DIB ' if palette else codec)
    stream += struct.pack(
        '<IHHIIIIIIII', 0, 0, 0, 0, 1, rate, 0, len(packets), largest, 2**32 - 1, 0
    )
    stream += struct.pack('<4H', 0, 0, width, height)
    streams = _list(b'strl', _chunk(b'strh', stream) + _chunk(b'strf', image))
    movie, index = b'', b''
    for data, key in zip(packets, keys):
        index += b'00dc' + struct.pack('<III', 16 if key else 0, 4 + len(movie), len(data))
        movie += _chunk(b'00dc', data)
    body = b'AVI ' + _list(b'hdrl', _chunk(b'avih', header) + streams)
    body += _list(b'movi', movie) + _chunk(b'idx1', index)
    with open(path, 'wb') as file:
        file.write(_chunk(b'RIFF', body))
    return str(path)


def _chunk(tag, body):
    return tag + struct.pack('<I', len(body)) + body + bytes(len(body) % 2)


def _list(tag, body):
    return _chunk(b'LIST', tag + body)


def write_sound(path):
    """Write a file with sound alone."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('aac', rate=8000, layout='mono')
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), 'fltp', 'mono')
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def write_garbled(path):
    """Write 80 frames at 10 per second, then zeros over a part in the middle of the file."""
    write(path, np.arange(80) / 10, noisy_picture, g='5')
    content = bytearray(path.read_bytes())
    begin = content.index(b'mdat') + (len(content) - content.index(b'mdat')) // 2
    content[begin : begin + 20_000] = bytes(20_000)
    path.write_bytes(content)


def noisy_picture(number):
    """Return a picture that is hard to compress: half a file then has half of the frames."""
    noise = np.random.default_rng(number).integers(-12, 12, (HEIGHT, WIDTH, 1))
    return np.clip(picture(number) + noise, 0, 255).astype(np.uint8)
