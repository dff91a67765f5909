r"""Measure seconds per frame over servers against the same SavedModel in this process.

    python -m tools.serving_latency --model=stfc3 --saved_model=MODEL/1 \
        --servers=http://localhost:8501,grpc://localhost:8500

Each line ends with the ratio to the seconds in this process.
"""

from collections.abc import Sequence

from absl import flags

from stfc3_tf import checks, errors
from stfc3_tf.clips import synthetic
from stfc3_tf.commands import command
from stfc3_tf.serving import client, latency, saved_model

_SAVED_MODEL = flags.DEFINE_string(
    'saved_model', None, 'The model that the servers serve.', required=True
)
_SERVERS = flags.DEFINE_list(
    'servers', None, 'http://HOST:8501 (REST) or grpc://HOST:8500 (gRPC), or both.', required=True
)
_MODEL = flags.DEFINE_string('model', 'stfc3', 'Name of the model on the servers.')
_SIZE = flags.DEFINE_list('size', ['480', '854'], 'Height and width of the frame.')
_ROUNDS = flags.DEFINE_integer(
    'rounds', 10, 'Number of measurements, of which the median is taken.', lower_bound=1
)
_PROPAGATE = flags.DEFINE_boolean(
    'propagate', False, 'Also the signature `propagate`; sends 140 MB per frame at 480 x 854.'
)


def report(name: str, seconds: latency.Seconds) -> None:
    """Print seconds and their ratio to those in this process."""
    for way, value in seconds.items():
        print(f'{name}  {way}  {value:.4f} s per frame  x{value / seconds["in process"]:.2f}')


def main(_: Sequence[str]) -> None:
    """Load the model, connect to the servers, measure."""
    try:
        height, width = map(int, _SIZE.value)
    except ValueError as error:
        raise errors.UserError(f'--size={",".join(_SIZE.value)}: give HEIGHT,WIDTH.') from error
    checks.whole_number('--size', min(height, width), least=16)
    frame = synthetic.scene(0, height, width).frame(0.0)
    here = saved_model.load(_SAVED_MODEL.value)
    served = {server: client.connect(server, _MODEL.value) for server in _SERVERS.value}
    report('features', latency.features(here, served, frame, _ROUNDS.value))
    if _PROPAGATE.value:
        report('propagate', latency.propagate(here, served, frame, _ROUNDS.value))


if __name__ == '__main__':
    command.run(main)
