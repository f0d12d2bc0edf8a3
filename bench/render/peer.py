#!/usr/bin/env python3
"""Render a JSON file as Nix with one library, and print the seconds that it took, from the JSON text on.

usage: peer.py ectools|nix-manipulator FILE [OUTPUT]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def load_ectools() -> Callable[[Any], str]:
    from ectools.nixlang import render

    render({})  # it imports what it needs when first called
    return render


def load_nix_manipulator() -> Callable[[Any], str]:
    from nix_manipulator.expressions.list import NixList
    from nix_manipulator.expressions.primitive import Primitive
    from nix_manipulator.expressions.set import AttributeSet

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return AttributeSet.from_dict({name: convert(each) for name, each in value.items()})
        if isinstance(value, list):
            return NixList(value=[convert(each) for each in value])
        return Primitive(value=value)

    return lambda value: str(convert(value).rebuild())


def main() -> None:
    library, file, *output = sys.argv[1:]
    render = {"ectools": load_ectools, "nix-manipulator": load_nix_manipulator}[library]()
    text = Path(file).read_text()
    began = time.perf_counter()
    rendered = render(json.loads(text))
    print(time.perf_counter() - began)
    for path in output:
        Path(path).write_text(rendered)


if __name__ == "__main__":
    main()
