"""systemd-boot, as far as it chooses an entry: which system a machine starts, by its EFI system partition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def boot_loader(esp: Path) -> str:
    """The system that systemd-boot would start, with its counter counted.

    https://uapi-group.org/specifications/specs/boot_loader_specification/#sorting, #boot-counting: entries
    without tries left come last; then by their sort key, and the newest version first.
    """
    conf = (esp / "loader/loader.conf").read_text()
    default = re.search(r"^default (\S+)$", conf, re.MULTILINE)
    assert default is not None, conf
    entries = []
    for path in (esp / "loader/entries").glob("*.conf"):
        counted = re.fullmatch(r"(.*?)(?:\+(\d+)(?:-(\d+))?)?", path.stem)
        assert counted is not None
        left = None if counted[2] is None else int(counted[2])
        text = dict(line.split(" ", 1) for line in path.read_text().splitlines())
        version = [int(each) if each.isdigit() else 0 for each in re.findall(r"\d+", text["version"])]
        kernel = esp / text["linux"].lstrip("/")
        assert kernel.stat().st_size == 1_000_000, "a kernel is not whole"
        assert (esp / text["initrd"].lstrip("/")).stat().st_size == 2_000_000
        entries.append((left == 0, text["sort-key"], [-each for each in version], path, counted, text))
    entries.sort(key=lambda each: each[:3])
    pattern = re.compile(re.escape(default[1]).replace(r"\*", ".*"))
    _, _, _, path, counted, text = next(each for each in entries if pattern.fullmatch(each[3].name))
    if counted[2] is not None and int(counted[2]) > 0:
        path.rename(path.with_name(f"{counted[1]}+{int(counted[2]) - 1}-{int(counted[3] or 0) + 1}.conf"))
    found = re.search(r"init=(\S+)/init", text["options"])
    assert found is not None
    return found[1]
