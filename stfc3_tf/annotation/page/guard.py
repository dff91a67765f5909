"""Checks that requests come from the page itself, at its secret address."""

from __future__ import annotations

from collections.abc import Collection
import hmac
import ipaddress
import secrets
import socket

_EVERYWHERE = ('', '0.0.0.0', '::')
HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    'Cache-Control': 'no-store',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
}


def new_token() -> str:
    """Return a secret that nobody guesses, made of letters that an address may hold."""
    return secrets.token_urlsafe(24)


class Guard:
    """Checks requests.

    Browsers let any site send requests to this machine, and a site may give its own name the
    address of this machine (DNS rebinding). The secret stops the first, the names the second.
    """

    def __init__(self, token: str, host: str):
        """Keep what is allowed.

        Args:
          token: the first part of every path.
          host: where the server listens.
        """
        self._token = token.encode()
        self._names: Collection[str] = {'localhost', '127.0.0.1', '::1', host.lower()}
        self._any_address = host in _EVERYWHERE
        if self._any_address:
            self._names = {*self._names, socket.gethostname().lower()}

    def allows(self, path: str, host: str) -> bool:
        """Return whether a request may be answered.

        Args:
          path: of the request.
          host: its header.
        """
        given = path.split('/')[1] if '/' in path else ''
        # In constant time, and both in any case.
        knows = hmac.compare_digest(given.encode(errors='replace'), self._token)
        return self._is_ours(host) and knows

    def _is_ours(self, host: str) -> bool:
        name = host.lower().rsplit(':', 1)[0] if not host.endswith(']') else host.lower()
        name = name.strip('[]')
        return name in self._names or (self._any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
