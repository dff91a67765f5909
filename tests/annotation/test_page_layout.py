"""The page in small windows: everything that can be pressed is seen, and nothing covers it."""

import contextlib
import dataclasses
import os
import threading
import urllib.parse

import browser
import moving_patches
from moving_patches import FRAMES, scene
import page_server
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        browser.programs() is None, reason=f'no {browser.WANTED}, or no driver of it'
    ),
]

VIDEO = 'the second camera on the left side of the stage, take 12, after the break'
NAMES = ('the lid of the cup that is turned twice', 'cup', 'Donaudampfschifffahrtskapitän' * 2)
FIRST = 12340  # Number of the first picture.
# What cannot be pressed at its middle or near its corners, after its list was scrolled to it; and
# what does not show all of its text.
UNREACHABLE = """
    const sheet = document.querySelector('dialog[open]') || document.body;
    const kinds = 'button, a.button, select, input, progress, canvas';
    const controls = [...sheet.querySelectorAll(kinds)].filter((each) => each.checkVisibility()
      && !each.closest('#picture') && each.closest('dialog[open], body') === sheet);
    const names = [];
    for (const each of controls) {
      each.scrollIntoView({block: 'nearest'});
      const box = each.getBoundingClientRect();
      const isHit = (x, y) => each.contains(document.elementFromPoint(x, y));
      const near = (length) => each.type === 'color' ? [0.5] : [0.5, 3 / length, 1 - 3 / length];
      const places = near(box.width).flatMap((x) => near(box.height).map((y) => [x, y]));
      const isWhole = box.left >= 0 && box.top >= 0 && box.right <= innerWidth
        && box.bottom <= innerHeight && each.scrollWidth <= each.clientWidth + 1;
      const isPressed = places.every(([x, y]) =>
        isHit(box.left + x * box.width, box.top + y * box.height));
      if (!(isPressed && (isWhole || each.matches('.name'))))
        names.push(each.id || each.ariaLabel || each.outerHTML);
    }
    return [names, controls.length];
"""


def things(colour):
    return [{'number': k + 1, 'name': name, 'colour': colour} for k, name in enumerate(NAMES)]


class Gate:
    """An encoder that is loaded, and answers, when the test says so."""

    def __init__(self):
        self.is_loaded, self.is_open = threading.Event(), threading.Event()
        self.is_open.set()

    def load(self):
        self.is_loaded.wait(60)
        return page_server.encoder(self.features)

    def features(self, frames):
        self.is_open.wait(60)
        return page_server.colours(frames)


@contextlib.contextmanager
def marked_video(folder, gate):
    """The address of the page on a video with long names."""
    root = folder / 'videos'
    root.mkdir()
    moving_patches.write_folder(root / VIDEO)
    for number in range(FRAMES):
        os.rename(root / VIDEO / f'{number}.png', root / VIDEO / f'{FIRST + number}.png')
    options = page_server.options(root, folder / 'kept', gate.load)
    with page_server.serving(dataclasses.replace(options, frame_rate=0.01)) as client:
        identifier = client.done('POST', 'open', {'name': VIDEO})['id']
        base = f'v/{urllib.parse.quote(identifier)}'
        given = {'objects': things('#e69f00'), 'points': things('#56b4e9')}
        client.done('PUT', f'{base}/things', given)
        mask = list(scene(0))[1]
        client.done('PUT', f'{base}/masks/0', body=page_server.png(mask.clip(0, 3)))
        client.done('PUT', f'{base}/points/0', {'1': [28, 28], '3': [120, 60]})
        yield client.address


def assert_all_is_reachable(page, least=30):
    names, count = page.run(UNREACHABLE)
    assert names == [] and count >= least


def scrolls(page):
    """Whether the window or a bar with buttons scrolls; only lists may."""
    bars = "[document.documentElement, ...document.querySelectorAll('header, #tools, footer')]"
    return page.run(f'return {bars}.some((e) => e.scrollHeight > e.clientHeight + 1);')


@pytest.mark.parametrize('size', [(1024, 700), (1280, 720)], ids=str)
def test_all_controls_can_be_reached_in_a_small_window(tmp_path, size):
    gate = Gate()
    (tmp_path / 'browser').mkdir()
    with (
        marked_video(tmp_path, gate) as address,
        browser.opened(tmp_path / 'browser', size) as page,
    ):
        page.go(address)
        page.wait("document.getElementById('encoder').textContent.includes('loading')")
        page.wait(f"document.getElementById('facts').textContent.includes('{FRAMES} frames ·')")
        assert_all_is_reachable(page)
        gate.is_loaded.set()
        page.wait("document.getElementById('encoder').textContent === ''")
        for key in ('Right', 'i', 'Right', 'Right', 'u'):
            page.keys(key)
        page.wait("!document.getElementById('range').hidden")
        assert_all_is_reachable(page)
        label = "document.getElementById('merge').labels[0].innerText"
        assert page.run(f'return {label};').startswith('change')
        gate.is_open.clear()
        page.keys('Control', 'Enter')
        page.wait("!document.getElementById('stop').hidden")
        assert_all_is_reachable(page)
        gate.is_open.set()
        page.wait("document.getElementById('left').textContent.startsWith('Step')")
        page.wait("document.getElementById('stop').hidden", 120)
        assert_all_is_reachable(page)
        assert not scrolls(page)
        for keys, sheet in [('?', 'help'), ('o', 'videos'), (('Control', 'e'), 'export')]:
            page.keys(*keys)
            page.wait(f"document.getElementById('{sheet}-sheet').open")
            assert_all_is_reachable(page, least=1)
            page.keys('Escape')
        assert page.log() == []


def test_names_of_points_do_not_leave_the_window(tmp_path):
    gate = Gate()
    gate.is_loaded.set()
    (tmp_path / 'browser').mkdir()
    with (
        marked_video(tmp_path, gate) as address,
        browser.opened(tmp_path / 'browser', (1024, 700)) as page,
    ):
        page.go(address)
        page.wait("document.querySelectorAll('#marks text').length === 2")
        # Of the text and of its point.
        edges = """
            const edge = document.getElementById('stage').getBoundingClientRect().right;
            return [...document.querySelectorAll('#marks g')].map((group) =>
              ['text', 'circle'].map((name) =>
                edge - group.querySelector(name).getBoundingClientRect().right));
        """
        (first, its_point), (other, other_point) = page.run(edges)
        assert 0 < first < its_point and 0 < other_point < other < 300
        text = page.run("return document.querySelector('#marks g:last-child text').textContent;")
        assert text == NAMES[2][:23] + '…'
