"""systemd-boot, as far as it chooses an entry: which system a machine starts, by its EFI system partition."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def boot_loader(esp: Path) -> str:
    """The system that systemd-boot would start, with its counter counted.

    https://uapi-group.org/specifications/specs/boot_loader_specification/#sorting, #boot-counting, and
    boot_entry_compare of systemd's boot.c: entries without tries left come last; then by their sort key, then
    by their machine id, those without one first, then the newest version and name first.
    """
    conf = (esp / "loader/loader.conf").read_text()
    found = {name: re.search(rf"^{name} (\S+)$", conf, re.MULTILINE) for name in ("preferred", "default")}
    default = found["preferred"] or found["default"]
    assert default is not None, conf
    chosen = esp / "LoaderEntryDefault"  # which is a variable of the firmware's
    wanted = chosen.read_text() if chosen.exists() else default[1]
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
        order = (left == 0, text["sort-key"], text.get("machine-id", ""), [-each for each in version])
        entries.append((order, path, counted, text))
    # The sort is stable: by their names last.
    entries.sort(key=lambda each: each[2][1], reverse=True)
    entries.sort(key=lambda each: each[0])
    pattern = re.compile(re.escape(wanted).replace(r"\*", ".*"))
    _, path, counted, text = next(each for each in entries if pattern.fullmatch(f"{each[2][1]}.conf"))
    if counted[2] is not None and int(counted[2]) > 0:
        path.rename(path.with_name(f"{counted[1]}+{int(counted[2]) - 1}-{int(counted[3] or 0) + 1}.conf"))
    system = re.search(r"init=(\S+)/init", text["options"])
    assert system is not None
    return system[1]
