"""``/metrics`` of a real boot server: clean to Prometheus's checker, and bounded whatever machines say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from support.boot_service import boot_service, require_boot_services, stage, write_settings
from support.metrics import read_samples
from support.prometheus import check_metrics

from ectools.netboot.boots.counts import MAX_GROUPS, OTHER_GROUP

if TYPE_CHECKING:
    from pathlib import Path

    from support.boot_service import Service

HOSTILE = ['"', "\\", 'a"} 1', "y" * 255, "{}", "#", "${token}", "'", " 1 2 3"]


def read(service: Service) -> str:
    text = service.watch("/metrics").body.decode()
    check_metrics(text)
    return text


def find_counted(text: str, name: str) -> dict[tuple[str, ...], float]:
    return {labels: count for labels, count in read_samples(text, name).items() if count}


def write_fleet(path: Path, *, nodes: int, groups: int) -> None:
    fleet = {
        "groups": {f"group-{each}": {} for each in range(groups)},
        "nodes": {
            f"node-{number}": {"group": f"group-{number % groups}", "match": {"serial": f"SN{number}"}}
            for number in range(nodes)
        },
    }
    path.write_text(json.dumps(fleet))


def test_what_machines_say_makes_no_series(tmp_path: Path) -> None:
    require_boot_services()
    fleet = tmp_path / "fleet.json"
    write_fleet(fleet, nodes=5, groups=2)
    settings = write_settings(tmp_path)
    raw = json.loads(settings.read_text())
    raw["fleet"] = {**raw["fleet"], "file": str(fleet)}
    settings.write_text(json.dumps(raw))
    (tmp_path / "state").mkdir()
    stage(tmp_path / "state", {"bzImage": b"kernel", "initrd": b"initrd"})
    with boot_service(settings) as service:
        before = read(service)
        assert read_samples(before, "nodes") == {("group-0", "", "unseen"): 3, ("group-1", "", "unseen"): 2}
        for name in HOSTILE:
            said = f"serial={quote(name)}&asset={quote(name)}&arch={quote(name)}"
            assert service.get(f"/netboot.ipxe?{said}").status == 200
        assert service.get("/netboot.ipxe?serial=SN0&arch=x86_64").status == 200
        # Nobody's token.
        for _ in range(3):
            assert service.get("/report?boot=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&stage=loaded").status == 403
        text = read(service)
        assert find_counted(text, "reports_total") == {("refused",): 3}
        (release,) = {release for _, release, _ in read_samples(text, "nodes")} - {""}
        nodes = read_samples(text, "nodes")
        assert nodes.pop(("", release, "booting")) == len(HOSTILE)
        assert nodes == {
            ("group-0", "", "unseen"): 2,
            ("group-0", release, "booting"): 1,
            ("group-1", "", "unseen"): 2,
        }
        assert find_counted(text, "boots_begun_total") == {("",): len(HOSTILE), ("group-0",): 1}
        assert len(text.splitlines()) < len(before.splitlines()) + 100
        assert read_samples(text, "state_up") == {(): 1}
        # A reload has other nodes counted, in so many groups and no more.
        write_fleet(fleet, nodes=300, groups=150)
        service.reload()
        text = read(service)
        assert len(read_samples(text, "node_info")) == 300
        groups = {group for group, _, _ in read_samples(text, "nodes")} - {""}
        assert len(groups) == MAX_GROUPS + 1
        assert OTHER_GROUP in groups
