"""A headless browser for tests: Chromium by WebDriver, or Firefox by WebDriver BiDi."""

import abc
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

from tornado import ioloop, websocket

# The browser that tests drive, 'chromium' or 'firefox'.
WANTED = os.environ.get('STFC3_BROWSER', 'chromium')
_FLAGS = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    '--disable-background-networking',
    '--no-first-run',
]
KEYS = {
    'Enter': '\ue007',
    'Escape': '\ue00c',
    'Delete': '\ue017',
    'End': '\ue010',
    'Home': '\ue011',
    'Tab': '\ue004',
    'Left': '\ue012',
    'Up': '\ue013',
    'Right': '\ue014',
    'Down': '\ue015',
    'Control': '\ue009',
    'Shift': '\ue008',
    'Alt': '\ue00a',
}


def programs():
    """Return the paths of the programs of the browser, or None where one is missing."""
    names = {
        'chromium': [('chromium', 'chromium-browser'), ('chromedriver',)],
        'firefox': [('firefox-esr', 'firefox')],
    }[WANTED]
    found = [next(filter(None, map(shutil.which, each)), None) for each in names]
    return found if all(found) else None


class Browser(abc.ABC):
    """One window."""

    @abc.abstractmethod
    def go(self, address):
        """Open an address."""

    @abc.abstractmethod
    def reload(self):
        """Load the page again."""

    @abc.abstractmethod
    def run(self, script, *arguments):
        """Return what a script returns, which finds `arguments` in `given` and may use `await`."""

    @abc.abstractmethod
    def act(self, *devices):
        """Do what WebDriver calls actions."""

    @abc.abstractmethod
    def log(self):
        """Return what the page wrote to the console since the last call."""

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

    def click(self, selector):
        """Press the mouse on the middle of an element."""
        script = """
            const element = document.querySelector(given[0]);
            element.scrollIntoView({block: 'nearest'});
            const box = element.getBoundingClientRect();
            return [box.left + box.width / 2, box.top + box.height / 2];
        """
        self.drag(self.run(script, selector))

    def type(self, selector, text):
        """Write text into an input, in place of its contents."""
        self.click(selector)
        self.keys('Control', 'a')
        for character in text:
            self.keys(character)

    def keys(self, *names):
        """Press keys together, and release them."""
        codes = [KEYS.get(name, name) for name in names]
        actions = [{'type': 'keyDown', 'value': code} for code in codes]
        actions += [{'type': 'keyUp', 'value': code} for code in reversed(codes)]
        self.act({'type': 'key', 'id': 'keyboard', 'actions': actions})

    def drag(self, *places):
        """Press the mouse at the first place of the window, go to the others, release."""
        moves = [
            {'type': 'pointerMove', 'duration': 30, 'x': round(x), 'y': round(y)} for x, y in places
        ]
        actions = [moves[0], {'type': 'pointerDown', 'button': 0}, *moves[1:]]
        actions.append({'type': 'pointerUp', 'button': 0})
        mouse = {'pointerType': 'mouse'}
        self.act({'type': 'pointer', 'id': 'mouse', 'parameters': mouse, 'actions': actions})


class Chromium(Browser):
    """A window of Chromium, through the W3C WebDriver protocol of chromedriver."""

    def __init__(self, driver_port, session):
        self._base = f'http://127.0.0.1:{driver_port}/session/{session}'

    def call(self, method, path, body=None):
        """Return the answer of the driver."""
        data = None if body is None and method != 'POST' else json.dumps(body or {}).encode()
        request = urllib.request.Request(f'{self._base}{path}', data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)['value']
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)['value']['message']) from error

    def go(self, address):
        self.call('POST', '/url', {'url': address})

    def reload(self):
        self.call('POST', '/refresh')

    def run(self, script, *arguments):
        body = f"""
            const done = arguments[arguments.length - 1];
            (async (...given) => {{ {script} }})(...arguments)
              .then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));
        """
        found = self.call('POST', '/execute/async', {'script': body, 'args': list(arguments)})
        assert 'error' not in found, found['error']
        return found.get('value')

    def act(self, *devices):
        self.call('POST', '/actions', {'actions': [*devices]})

    def log(self):
        return [entry['message'] for entry in self.call('POST', '/se/log', {'type': 'browser'})]


class Firefox(Browser):
    """A window of Firefox, through its WebDriver BiDi on a web socket."""

    def __init__(self, address, size):
        self._loop = ioloop.IOLoop(make_current=False)
        self._socket = self._loop.run_sync(
            lambda: websocket.websocket_connect(f'{address}/session', max_message_size=1 << 28)
        )
        self._number, self._log = 0, []
        self._call('session.new', capabilities={})
        self._call('session.subscribe', events=['log.entryAdded'])
        # The first window of a headless Firefox never has the focus: no events of focus and change.
        self._window = self._call('browsingContext.create', type='window')['context']
        self._call('browsingContext.activate', context=self._window)
        self._call(
            'browsingContext.setViewport',
            context=self._window,
            viewport={'width': size[0], 'height': size[1]},
        )

    def _call(self, method, **parameters):
        self._number += 1
        message = {'id': self._number, 'method': method, 'params': parameters}
        self._loop.run_sync(lambda: self._socket.write_message(json.dumps(message)))
        while True:
            text = self._loop.run_sync(self._socket.read_message, timeout=90)
            assert text is not None, 'the browser is gone'
            answer = json.loads(text)
            if answer.get('method') == 'log.entryAdded':
                self._log.append(answer['params'].get('text') or '')
            if answer.get('id') == self._number:
                assert answer['type'] == 'success', answer
                return answer['result']

    def go(self, address):
        self._call('browsingContext.navigate', context=self._window, url=address, wait='complete')

    def reload(self):
        self._call('browsingContext.reload', context=self._window, wait='complete')

    def run(self, script, *arguments):
        function = f"""async (text) => {{
            const given = JSON.parse(text);
            return JSON.stringify({{value: await (async () => {{ {script} }})()}});
        }}"""
        found = self._call(
            'script.callFunction',
            functionDeclaration=function,
            arguments=[{'type': 'string', 'value': json.dumps(arguments)}],
            target={'context': self._window},
            awaitPromise=True,
        )
        assert found['type'] == 'success', found['exceptionDetails']['text']
        return json.loads(found['result']['value']).get('value')

    def act(self, *devices):
        self._call('input.performActions', context=self._window, actions=[*devices])

    def log(self):
        found, self._log = self._log, []
        return found

    def close(self):
        """Leave the browser."""
        self._socket.close()
        self._loop.close()


@contextlib.contextmanager
def opened(folder, size=(1280, 720)):
    """A browser without a history, whose profile lies in a folder."""
    with {'chromium': _chromium, 'firefox': _firefox}[WANTED](folder, size) as browser:
        yield browser


@contextlib.contextmanager
def _firefox(folder, size):
    (program,) = programs()
    os.makedirs(f'{folder}/profile')
    command = [program, '--headless', '--no-remote', '--profile', f'{folder}/profile']
    with open(f'{folder}/browser.log', 'w') as log:
        process = subprocess.Popen(
            [*command, '--remote-debugging-port', '0'], stdout=log, stderr=log
        )
    try:
        browser = Firefox(_address(f'{folder}/browser.log'), size)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(30)


def _address(log):
    """Wait until Firefox says where it listens."""
    for _ in range(600):
        with open(log) as file:
            if found := re.search(r'listening on (ws://\S+)', file.read()):
                return found[1]
        time.sleep(0.1)
    raise AssertionError('the browser did not start within a minute')


@contextlib.contextmanager
def _chromium(folder, size):
    chromium, chromedriver = programs()
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with open(f'{folder}/driver.log', 'w') as log:
        driver = subprocess.Popen([chromedriver, f'--port={port}'], stdout=log, stderr=log)
        try:
            browser = Chromium(port, _session(port, chromium, folder, size))
            try:
                yield browser
            finally:
                browser.call('DELETE', '')
        finally:
            driver.terminate()
            driver.wait(30)


def _session(port, chromium, folder, size):
    flags = [*_FLAGS, f'--user-data-dir={folder}/profile', f'--window-size={size[0]},{size[1]}']
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
