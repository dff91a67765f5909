"""The network interface on which a server of this machine listens."""

from __future__ import annotations

from collections.abc import Iterable
import contextlib
import ipaddress
import socket

from stfc3_tf import errors


def split(address: str) -> tuple[str, int]:
    """Return host and port of 'host:port'; '[::1]:80' is an IPv6 address.

    Raises:
      errors.UserError: it is not of that form.
    """
    host, _, port = address.rpartition(':')
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise errors.UserError(f'{address!r} is no address: give host:port.')
    return host.strip('[]'), int(port)


def is_loopback(host: str) -> bool:
    """Return whether a name or address means this machine only."""
    try:
        return ipaddress.ip_address(resolve(host)).is_loopback
    except OSError:
        return False


def resolve(host: str) -> str:
    """Return the first numeric address of a host; raise OSError if it is not known."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def to_listen_on(host: str, others: Iterable[str]) -> str:
    """Return the numeric address of this machine on which other hosts reach it.

    Args:
      host: the name by which they reach this machine; on some systems it resolves to loopback.
      others: their names.

    Raises:
      OSError: the name is not known.
    """
    address = resolve(host)
    if not ipaddress.ip_address(address).is_loopback:
        return address
    for other in others:
        if not is_loopback(other):
            with contextlib.suppress(OSError):
                return _towards(other)
    return address


def _towards(host: str) -> str:
    """Return the address from which this machine would send packets to a host; send none."""
    address = resolve(host)
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        return str(probe.getsockname()[0])
