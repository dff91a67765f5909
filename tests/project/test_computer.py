"""What a table of results says about the computer."""

import os
import platform

from stfc3_tf import computer

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
model\t\t: 143
model name\t: Some(R) Processor  8000 \n
processor\t: 1
model name\t: Some(R) Processor 8000
"""


def test_the_processor_is_named(tmp_path):
    file = tmp_path / 'cpuinfo'
    file.write_text(CPUINFO)
    expected = f'{os.cpu_count()} processors, Some(R) Processor  8000, {platform.system()}'
    assert computer.description(file) == expected


def test_a_computer_that_names_no_processor(tmp_path):
    file = tmp_path / 'cpuinfo'
    nameless = computer.description(file)
    assert nameless.split(', ')[1]  # Its architecture.
    file.write_text('processor\t: 0\nmodel name\t: \n')  # As some virtual machines do.
    assert computer.description(file) == nameless


def test_the_release_of_the_system_is_not_told():
    text = computer.description()
    assert platform.release() not in text
