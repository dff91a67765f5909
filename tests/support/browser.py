"""A headless Chromium, driven through the W3C WebDriver protocol of chromedriver."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

FLAGS = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--no-first-run',
]
_ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'
KEYS = {
    'Enter': '\ue007',
    'Escape': '\ue00c',
    'Delete': '\ue017',
    'End': '\ue010',
    'Right': '\ue014',
    'Control': '\ue009',
    'Shift': '\ue008',
    'Alt': '\ue00a',
}


def programs():
    """Return the paths of browser and driver, or None where one is missing."""
    found = [shutil.which('chromium') or shutil.which('chromium-browser')]
    found.append(shutil.which('chromedriver'))
    return found if all(found) else None


class Browser:
    """One window."""

    def __init__(self, driver_port, session):
        self._base = f'http://127.0.0.1:{driver_port}/session/{session}'

    def call(self, method, path, body=None):
        data = None if body is None and method != 'POST' else json.dumps(body or {}).encode()
        request = urllib.request.Request(f'{self._base}{path}', data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)['value']
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)['value']['message']) from error

    def go(self, address):
        self.call('POST', '/url', {'url': address})

    def run(self, script, *arguments):
        """Return what a script returns; it may use `await`."""
        body = f"""
            const done = arguments[arguments.length - 1];
            (async (...given) => {{ {script} }})(...arguments)
              .then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));
        """
        found = self.call('POST', '/execute/async', {'script': body, 'args': list(arguments)})
        assert 'error' not in found, found['error']
        return found.get('value')

    def wait(self, condition, seconds=60):
        """Wait until a JavaScript expression is true; return its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(f'return ({condition});')
            if value:
                return value
            time.sleep(0.1)
        said = self.run("return document.getElementById('message')?.textContent;")
        raise AssertionError(f'not within {seconds} s: {condition}; the page says: {said}')

    def element(self, selector):
        found = self.call('POST', '/element', {'using': 'css selector', 'value': selector})
        return found[_ELEMENT]

    def click(self, selector):
        self.call('POST', f'/element/{self.element(selector)}/click')

    def type(self, selector, text):
        """Write text into an input, in place of its contents."""
        # WebDriver's own clearing leaves the input, which the page takes for the end of a change.
        select_all = KEYS['Control'] + 'a' + KEYS['Control']
        self.call('POST', f'/element/{self.element(selector)}/value', {'text': select_all + text})

    def keys(self, *names):
        """Press keys together, and release them."""
        codes = [KEYS.get(name, name) for name in names]
        actions = [{'type': 'keyDown', 'value': code} for code in codes]
        actions += [{'type': 'keyUp', 'value': code} for code in reversed(codes)]
        self._act({'type': 'key', 'id': 'keyboard', 'actions': actions})

    def drag(self, *places):
        """Press the mouse at the first place of the window, go to the others, release."""
        moves = [
            {'type': 'pointerMove', 'duration': 30, 'x': round(x), 'y': round(y)} for x, y in places
        ]
        actions = [moves[0], {'type': 'pointerDown', 'button': 0}, *moves[1:]]
        actions.append({'type': 'pointerUp', 'button': 0})
        mouse = {'pointerType': 'mouse'}
        self._act({'type': 'pointer', 'id': 'mouse', 'parameters': mouse, 'actions': actions})

    def _act(self, device):
        self.call('POST', '/actions', {'actions': [device]})

    def screenshot(self, path):
        with open(path, 'wb') as file:
            file.write(base64.b64decode(self.call('GET', '/screenshot')))

    def log(self):
        """Return what the page wrote to the console since the last call."""
        return [entry['message'] for entry in self.call('POST', '/se/log', {'type': 'browser'})]


@contextlib.contextmanager
def opened(folder, size=(1280, 720)):
    """A browser without a history, whose profile lies in a folder."""
    chromium, chromedriver = programs()
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with open(f'{folder}/driver.log', 'w') as log:
        driver = subprocess.Popen([chromedriver, f'--port={port}'], stdout=log, stderr=log)
        try:
            browser = Browser(port, _session(port, chromium, folder, size))
            try:
                yield browser
            finally:
                browser.call('DELETE', '')
        finally:
            driver.terminate()
            driver.wait(30)


def _session(port, chromium, folder, size):
    flags = [*FLAGS, f'--user-data-dir={folder}/profile', f'--window-size={size[0]},{size[1]}']
    options = {'binary': chromium, 'args': flags}
    wanted = {'goog:chromeOptions': options, 'goog:loggingPrefs': {'browser': 'ALL'}}
    body = json.dumps({'capabilities': {'alwaysMatch': wanted}}).encode()
    request = urllib.request.Request(f'http://127.0.0.1:{port}/session', body)
    for attempt in range(100):
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)['value']['sessionId']
        except (ConnectionError, urllib.error.URLError) as error:
            if isinstance(error, urllib.error.HTTPError) or attempt == 99:
                raise
            time.sleep(0.1)
    raise AssertionError('unreachable')
