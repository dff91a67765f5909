"""What stands in a comment of a gin file is not a path: no store is asked, no library is loaded."""

import forked_programs

# The library that s3:// needs is made unimportable, and the network is closed.
PROGRAM = """
import os, socket, sys
os.chdir(sys.argv[1])
sys.modules['tensorflow_io'] = None
from stfc3_tf import errors
from stfc3_tf.commands import configuration

def refuse(*_, **__):
    raise AssertionError('the network was used')

socket.getaddrinfo = socket.socket.connect = refuse
configuration.parse_gin(['a.gin'], ['NOTE = 1  # s3://bucket/in-a-binding'])
try:
    configuration.parse_gin([], ["PATH = 's3://bucket/folder'"])
except errors.UserError as error:
    print(error)
"""


def test_an_s3_path_counts_in_a_setting_and_not_in_a_comment(tmp_path):
    (tmp_path / 'inner.gin').write_text('# from s3://bucket/videos\nINNER = 1\n')
    (tmp_path / 'a.gin').write_text(
        "# as s3://bucket/run/config.gin\ninclude 'inner.gin'  # s3://bucket/inner.gin\n"
        'OUTER = 2  # or s3://bucket/other\n'
    )
    with forked_programs.Program(PROGRAM, str(tmp_path)) as program:
        output = program.output.read()
        assert program.end() == 0, output
    # Only the setting asked for the library.
    assert output.count('need tensorflow-io') == 1
