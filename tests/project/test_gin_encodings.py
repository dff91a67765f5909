"""Gin files as editors save them."""

import gin
import pytest

from stfc3_tf import errors
from stfc3_tf.commands import configuration
from stfc3_tf.training import run as _run  # noqa: F401  registers what a file names

TEXT = "# für Versuche\r\nNOTE = 'é'\r\n"


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_encodings_that_are_read(tmp_path, encoding):
    (tmp_path / 'inner.gin').write_bytes(TEXT.encode(encoding))
    (tmp_path / 'a.gin').write_bytes("include 'inner.gin'\nOTHER = 1\n".encode(encoding))
    configuration.parse_gin([str(tmp_path / 'a.gin')], [])
    assert gin.query_parameter('%NOTE') == 'é' and gin.query_parameter('%OTHER') == 1


def test_latin_1_is_one_line(tmp_path):
    (tmp_path / 'a.gin').write_bytes(TEXT.encode('latin-1'))
    with pytest.raises(errors.UserError, match='a.gin is not text in UTF-8: byte 0xfc in line 1'):
        configuration.parse_gin([str(tmp_path / 'a.gin')], [])


def test_an_include_may_name_a_file_of_the_project(tmp_path):
    (tmp_path / 'a.gin').write_text("include 'gin/small/stfc3.gin'\ntrain.steps = 2\n")
    configuration.parse_gin([str(tmp_path / 'a.gin')], [])
    assert gin.query_parameter('train.steps') == 2
    assert gin.query_parameter('train.encoder')


@pytest.mark.parametrize('text', ['train.steps = ' + '[' * 50_000, 'NaNtrain.steps = 1', 'a = = 2'])
def test_what_is_not_valid_is_one_line(tmp_path, text):
    (tmp_path / 'a.gin').write_text(text)
    with pytest.raises(errors.UserError, match='a.gin is not valid') as caught:
        configuration.parse_gin([str(tmp_path / 'a.gin')], [])
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 800
