"""A fleet of so many nodes, as people write it and as programs do.

``write_fleet.py NODES FILE``; FILE ends in .json or .toml
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

GROUPS = 20


def build_mac(number: int) -> str:
    """The MAC address that the node of this number is known by."""
    return ":".join(f"{byte:02x}" for byte in (2, 0xEC, *number.to_bytes(4, "big")))


def build_fleet(nodes: int) -> dict[str, Any]:
    return {
        "unknown": "hold",
        "groups": {f"group-{each}": {"kernelArguments": ["console=ttyS0"]} for each in range(GROUPS)},
        "nodes": {
            f"node-{number}": {
                "group": f"group-{number % GROUPS}",
                "match": {"mac": [build_mac(number)], "serial": f"SN{number:07}"},
                "kernelArguments": [f"every.node={number}"],
            }
            for number in range(nodes)
        },
    }


def write_fleet(nodes: int, path: Path) -> None:
    fleet = build_fleet(nodes)
    if path.suffix == ".json":
        path.write_text(json.dumps(fleet))
        return
    lines = [f'unknown = "{fleet["unknown"]}"']
    for name, group in fleet["groups"].items():
        lines += ["", f"[groups.{name}]", f"kernelArguments = {json.dumps(group['kernelArguments'])}"]
    for name, node in fleet["nodes"].items():
        lines += ["", f"[nodes.{name}]", f'group = "{node["group"]}"']
        lines += [
            f"match.mac = {json.dumps(node['match']['mac'])}",
            f'match.serial = "{node["match"]["serial"]}"',
        ]
        lines += [f"kernelArguments = {json.dumps(node['kernelArguments'])}"]
    path.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    write_fleet(int(sys.argv[1]), Path(sys.argv[2]))
