"""A description of this computer, for tables of results."""

from __future__ import annotations

import os
import pathlib
import platform
import re

_LINUX = pathlib.Path('/proc/cpuinfo')


def description(cpuinfo: pathlib.Path = _LINUX) -> str:
    """Return the number and kind of the processors, and the system.

    Speeds and, by rounding, trained weights depend on the kind of processor.

    Args:
      cpuinfo: file in which Linux describes the processors; other systems have none.
    """
    return f'{os.cpu_count()} processors, {_processor(cpuinfo)}, {platform.system()}'


def _processor(cpuinfo: pathlib.Path) -> str:
    """Return the name of the processor, or its architecture where the system does not name it."""
    text = cpuinfo.read_text(errors='replace') if cpuinfo.exists() else ''
    name = re.search(r'^model name\s*:\s*(\S.*)$', text, re.MULTILINE)
    return name[1].strip() if name else platform.processor() or platform.machine()
