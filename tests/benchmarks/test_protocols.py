"""The shipped protocols: every file builds, and has the values of the published code."""

import dataclasses
import pathlib
import re

import gin
import pytest

from stfc3_tf import errors
from stfc3_tf.benchmarks import tasks
from stfc3_tf.commands import configuration
from stfc3_tf.propagation import codecs, propagator, tracker

FOLDER = pathlib.Path(__file__).parents[2] / 'gin' / 'eval'
DOCS = FOLDER.parents[1] / 'docs' / 'protocols.md'
FILES = sorted(FOLDER.glob('*.gin'))


def parse(name, *bindings):
    configuration.parse_gin([str(FOLDER / name)], bindings)
    return propagator.PropagationSettings(), tracker.InputSize()


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_file_builds_its_benchmark(path):
    parse(path.name)
    name = gin.query_parameter('protocol.task')
    task = tasks.TASKS[name]
    benchmark = task.benchmark(data_dir='somewhere') if task.needs_data else task.benchmark()
    assert benchmark.task == name
    assert 'data_dir' not in benchmark.settings()
    # No value is left to a default that may change.
    for field in dataclasses.fields(propagator.PropagationSettings):
        gin.query_parameter(f'PropagationSettings.{field.name}')
    gin.query_parameter('InputSize.rule')
    assert '# published' in path.read_text()


@pytest.mark.parametrize('task', tasks.TASKS.values(), ids=list(tasks.TASKS))
def test_every_task_has_its_default(task):
    assert (FOLDER / task.protocol).exists()


@pytest.mark.parametrize(
    'name,input_size,context,radius,top_k,temperature',
    [
        ('davis_stfc3.gin', ('short_side', 720), 20, 18, 10, 0.05),
        ('davis_crw.gin', ('native', 0), 20, 12, 10, 0.05),
        ('davis_vfs.gin', ('short_side', 480), 20, 12, 10, 0.07),
        ('davis_dino.gin', ('short_side', 480), 7, 12, 5, 0.1),
        ('jhmdb_stfc3.gin', ('square', 640), 7, 10, 10, 0.05),
        ('jhmdb_crw.gin', ('square', 320), 7, 12, 10, 0.05),
        ('300vw_paper.gin', ('native', 0), 4, 5, 10, 0.05),
    ],
)
def test_numbers_of_the_published_protocols(name, input_size, context, radius, top_k, temperature):
    settings, size = parse(name)
    assert (size.rule, size.size) == input_size
    assert (settings.context, settings.radius, settings.top_k, settings.temperature) == (
        context,
        radius,
        top_k,
        temperature,
    )


def documented():
    """Return the rows of the table of docs/protocols.md, [(protocol, cells)]."""
    text = DOCS.read_text().split('| protocol | input |')[1].split('\n\n')[0]
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()[2:]]
    return [(name, cells) for first, *cells in rows for name in re.findall('`(.*?)`', first)]


def input_in_words(size):
    """Return the beginnings that the cell of the input may have."""
    task = gin.query_parameter('protocol.task')
    words = {
        'short_side': [f'short side {size.size}', f'{size.size}p'],
        'square': [f'{size.size} x {size.size}'],
        'native': {
            'davis': ['480p'],
            '300vw': ['face crop, 320 x 320'],
            'synthetic': ['256 x 320'],
        }.get(task, []),
    }
    return [each + ', cells of 4 pixels' * size.finer for each in words[size.rule]]


def test_the_table_of_the_docs_names_every_file():
    assert sorted(name for name, _ in documented()) == [path.stem for path in FILES]


@pytest.mark.parametrize('name,cells', documented(), ids=[name for name, _ in documented()])
def test_every_file_has_the_numbers_of_the_docs(name, cells):
    settings, size = parse(f'{name}.gin')
    shown, context, radius, top_k, temperature = cells
    assert shown in input_in_words(size)
    radius, *words = radius.split(', ')
    top_k, *ties = top_k.split(', ')
    assert (settings.context, settings.top_k) == (int(context), int(top_k))
    assert (settings.radius, settings.temperature) == (float(radius), float(temperature))
    assert settings.restrict_first == ('also for the first frame' in words)
    assert (settings.window == 'square') == ('square' in words)
    assert settings.keep_ties == (ties == ['ties kept'])


def test_the_built_in_scenes_have_the_size_of_the_docs():
    parse('synthetic.gin')
    sides = [gin.query_parameter(f'SyntheticBenchmark.{side}') for side in ('height', 'width')]
    assert sides == [256, 320]


def test_faces_are_crops_of_320_pixels_with_the_conventions_of_the_pose_script():
    parse('300vw_paper.gin')
    benchmark = tasks.TASKS['300vw'].benchmark('somewhere')
    assert (benchmark.crop_size, benchmark.category) == (320, 0)
    codec = benchmark.codec
    assert (codec.convention, codec.sigma, codec.top) == ('crw', 0.5, 3)


def test_what_crw_vfs_and_dino_do_otherwise():
    crw, _ = parse('davis_crw.gin')
    crw_codec = codecs.MaskCodec()
    gin.clear_config()
    vfs, _ = parse('davis_vfs.gin')
    vfs_codec = codecs.MaskCodec()
    gin.clear_config()
    dino, dino_size = parse('davis_dino.gin')
    dino_codec = codecs.MaskCodec()
    assert (crw.window, vfs.window, dino.window) == ('disc', 'disc', 'square')
    assert (crw.restrict_first, vfs.restrict_first, dino.restrict_first) == (False, True, True)
    assert (crw.repeat_first, vfs.repeat_first, dino.repeat_first) == (True, False, False)
    assert (crw.first_among_preceding, vfs.first_among_preceding, dino.first_among_preceding) == (
        True,
        True,
        False,
    )
    assert (crw.keep_ties, vfs.keep_ties, dino.keep_ties) == (False, False, True)
    assert crw_codec == codecs.MaskCodec('bilinear', 'none', 'input')
    assert vfs_codec == codecs.MaskCodec('nearest', 'per_label', 'label')
    assert dino_codec == codecs.MaskCodec('nearest', 'per_label', 'input')
    assert dino_size.long_side_multiple == 64


def test_a_protocol_of_another_task_is_refused():
    parse('jhmdb_crw.gin')
    tasks.check_protocol('jhmdb')
    with pytest.raises(errors.UserError, match="--task=davis.*'jhmdb'"):
        tasks.check_protocol('davis')


def test_bindings_override_the_file():
    settings, _ = parse('davis_crw.gin', 'PropagationSettings.radius = 5')
    assert settings.radius == 5 and settings.context == 20
