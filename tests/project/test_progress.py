"""The display of progress: lines in a file, one line in a terminal, and the right speed."""

import io

import pytest
import tqdm.std

from stfc3_tf import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(tqdm.std, 'time', lambda: now[0])
    return now


def shown(clock, stream, total):
    """Show 1, 6 and 21 frames after 0, 10 and 40 seconds, and end after 50."""
    display = progress.Display('labels', 'frames', total, stream)
    for clock[0], count in ((1000.0, 1), (1010.0, 6), (1040.0, 21)):
        display.show(count)
    clock[0] = 1050.0
    display.finish()
    return stream.getvalue()


def test_a_file_gets_a_line_every_half_minute(clock):
    # 20 frames in 40 seconds after the first one; 80 are left, at one per two seconds.
    assert shown(clock, io.StringIO(), 101).splitlines() == [
        'labels: 21 of 101 frames   0.50 frames/s  02:40 left',
        'labels: 21 frames   0.40 frames/s',
    ]


def test_an_unknown_total_is_not_shown(clock):
    assert 'labels: 21 frames   0.50 frames/s\n' in shown(clock, io.StringIO(), None)


def test_a_terminal_keeps_one_line(clock):
    text = shown(clock, Terminal(), 101)
    assert text.count('\n') == 1 and text.endswith('\n')
    assert text.count('\rlabels: ') == 3


def test_without_work_nothing_is_shown():
    stream = io.StringIO()
    progress.Display('labels', 'frames', 5, stream).finish()
    assert stream.getvalue() == ''


@pytest.mark.parametrize(
    'seconds, text',
    [(0.4, '0 s'), (59.4, '59 s'), (59.6, '1 min'), (3600, '1 h 0 min'), (200_000, '2 d 8 h')],
)
def test_durations_are_written_as_people_say_them(seconds, text):
    assert progress.duration(seconds) == text
