"""Lists of videos as people write them: separators and encodings."""

import pytest

from stfc3_tf import errors
from stfc3_tf.preparation import listing


@pytest.fixture(name='folder')
def fixture_folder(tmp_path):
    (tmp_path / 'videos').mkdir()
    for name in ('v0.mp4', 'v1.mp4', 'with space.mp4', 'with, comma.mp4', 'with;semicolon.mp4'):
        (tmp_path / 'videos' / name).write_bytes(b'')
    return tmp_path


def listed(folder, contents, name='list.csv'):
    (folder / name).write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    found = listing.list_videos([str(folder / name)])
    return [path.removeprefix(f'{folder}/videos/') for path in found]


@pytest.mark.parametrize('separator', [',', ';', '\t', ' ', '  ', ' , ', '|'])
@pytest.mark.parametrize(
    'lines',
    [
        ['videos/v0.mp4{}0', 'videos/v1.mp4{}1'],
        ['path{}label', 'videos/v0.mp4{}0', 'videos/v1.mp4{}1'],
        ['label{}video_path', '0{}videos/v0.mp4', '1{}videos/v1.mp4'],
        ['videos/v0.mp4{}a b', 'videos/v1.mp4{}c'],
    ],
)
def test_separators(folder, separator, lines):
    text = '\n'.join(line.format(separator) for line in lines)
    assert listed(folder, text) == ['v0.mp4', 'v1.mp4']
    assert listed(folder, text.replace('\n', '\r\n') + '\r\n\r\n') == ['v0.mp4', 'v1.mp4']


@pytest.mark.parametrize('name', ['with space.mp4', 'with, comma.mp4', 'with;semicolon.mp4'])
def test_one_name_a_line_with_what_could_separate(folder, name):
    assert listed(folder, f'videos/v0.mp4\nvideos/{name}\n') == sorted(['v0.mp4', name])
    assert listed(folder, f'"videos/{name}"\n') == [name]
    assert listed(folder, f'path\n"videos/{name}"\n') == [name]


def test_no_separator_leads_to_a_video(folder):
    with pytest.raises(
        errors.UserError, match=r'list.csv.*separated by comma, semicolon, tab'
    ) as e:
        listed(folder, 'videos/none.mp4 0\nvideos/nothing.mp4 1\n')
    assert "first line is 'videos/none.mp4 0'" in str(e.value)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-be-sig'])
def test_encodings(folder, encoding):
    (folder / 'videos' / 'bébé.mp4').write_bytes(b'')
    text = 'path;label\nvideos/bébé.mp4;0\n'
    big = encoding == 'utf-16-be-sig'
    contents = ('\ufeff' + text).encode('utf-16-be') if big else text.encode(encoding)
    assert listed(folder, contents) == ['bébé.mp4']


def test_an_encoding_that_is_not_stated(folder):
    with pytest.raises(errors.UserError, match='list.csv is not text in UTF-8.*line 2.*Latin-1'):
        listed(folder, 'path\nvideos/bébé.mp4\n'.encode('latin-1'))
    with pytest.raises(errors.UserError, match='list.csv is not text in UTF-8.*UTF-16'):
        listed(folder, 'path\nvideos/v0.mp4\n'.encode('utf-16-le'))
