"""Where the programs begin: Ctrl-C ends them without words from here on, also while they are loaded.

Nothing that takes time is imported before; what runs then has its own ending (``main.run_command``).
"""

from __future__ import annotations

import signal
from importlib import import_module


def run_ectools() -> int:
    """The program ``ectools``; the return value is the exit status."""
    return _run("ectools.cli.main")


def run_ipxe_qemu() -> int:
    """The program ``every-channel-ipxe-qemu``; the return value is the exit status."""
    return _run("ectools.cli.vm")


def _run(module: str) -> int:
    # What is ignored (a job in the background of a script) stays ignored.
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_pythons:
        # Python's raises an exception within whatever import it meets; the system's ends the process.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    loaded = import_module(module)
    try:
        if is_pythons:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status: int = loaded.main()
    except KeyboardInterrupt:
        return 130
    return status
