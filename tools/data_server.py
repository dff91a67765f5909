"""Read clips for trainers on other machines.

    python -m tools.data_server --data=VIDEOS --host=NAME --port=5050 --allow_all_interfaces

Start one on each machine that is to read clips, with the --data of the run, and train with
`--gin_bindings="train.data_servers = ['NAME:5050', ...]"`. The server runs until it is stopped.

TensorFlow opens both ports on all interfaces of the machine, whatever --host says, and cannot be
restricted. Whoever reaches them can read and write files with your rights. Use it only inside a
private network, and confirm that with --allow_all_interfaces.
"""

from __future__ import annotations

from collections.abc import Sequence
import socket

from absl import flags, logging

from stfc3_tf import errors
from stfc3_tf.cluster import data_service
from stfc3_tf.commands import command

_DATA = flags.DEFINE_string(
    'data', None, 'Videos, as for stfc3_tf.train; without it, built-in synthetic scenes.'
)
_HOST = flags.DEFINE_string(
    'host',
    socket.gethostname(),
    'Name or address under which the trainers reach this machine. It does not restrict who can '
    'connect, see --allow_all_interfaces.',
)
_PORT = flags.DEFINE_integer(
    'port',
    5050,
    'Port of the dispatcher; the worker takes the next one.',
    lower_bound=1,
    upper_bound=65534,
)
_ALLOW_ALL_INTERFACES = flags.DEFINE_boolean(
    'allow_all_interfaces',
    False,
    'Confirms that both ports may be open on all interfaces, without a password: needed, because '
    "TensorFlow's servers cannot be restricted.",
)
_FRAME_FOLDER_RATE = flags.DEFINE_float(
    'frame_folder_rate',
    24.0,
    'Frames per second at which frame folders were extracted, as train.frame_folder_rate.',
)


def main(_: Sequence[str]) -> None:
    """Start the server and wait."""
    ports = f'ports {_PORT.value} and {_PORT.value + 1}'
    if not _ALLOW_ALL_INTERFACES.value:
        raise errors.UserError(
            f'TensorFlow would open {ports} on all interfaces of this machine, not only on '
            f'{_HOST.value}. Whoever reaches them can read and write files with your rights, '
            'without a password. If only people whom you trust can (a private network, or a '
            'firewall that closes the ports to others), add --allow_all_interfaces. See '
            'docs/scaling.md.'
        )
    server = data_service.Server(_DATA.value, _HOST.value, _PORT.value, _FRAME_FOLDER_RATE.value)
    logging.info('Serving clips as %s:%d.', _HOST.value, _PORT.value)
    logging.warning(
        'It listens on all interfaces of this machine, %s, without a password: keep them inside a '
        'private network.',
        ports,
    )
    server.join()


if __name__ == '__main__':
    command.run(main)
