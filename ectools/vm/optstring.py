"""QEMU's option strings: ``value,key=value,…``, in which a comma of a value is written twice.

Source: ``get_opt_value`` in QEMU's util/qemu-option.c, and qemu(1) on commas in file names.
"""

from __future__ import annotations


def escape_option(value: str) -> str:
    """``value`` as one part of an option string."""
    return value.replace(",", ",,")


def split_options_string(text: str) -> list[str]:
    """The parts of an option string, each still escaped: ``"a,b=1,,2"`` → ``["a", "b=1,,2"]``.

    ``",".join`` of the result is ``text`` again.
    """
    parts = [""]
    position = 0
    while position < len(text):
        if text.startswith(",,", position):
            parts[-1] += ",,"
            position += 2
        elif text[position] == ",":
            parts.append("")
            position += 1
        else:
            parts[-1] += text[position]
            position += 1
    return parts
