"""The commands; installed as `stfc3 VERB`."""

from stfc3_tf.commands import flag_check

flag_check.check_command_of_python(r'tools\.\w+')
