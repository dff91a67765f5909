"""Run `python -m stfc3_tf VERB`, which does the same as `stfc3 VERB`."""

import sys

from stfc3_tf.commands import console

if __name__ == '__main__':
    sys.exit(console.main())
