"""Machines that boot from their disk, at the boot server: who they are, by a credential for each boot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from multidict import CIMultiDict, MultiDict
from support.desk_site import DeskSite, run_at_desk

from ectools.netboot.boots.memory import hash_token
from ectools.netboot.boots.model import BootState, NodeBoot, NodeReport, NodeStage
from ectools.netboot.fleet.install import NodeInstall
from ectools.netboot.fleet.override import NodeOverride, encode_override, parse_override
from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.server.disk_desk import DiskDesk

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

MACS = {"a": "02:00:00:00:00:01", "b": "02:00:00:00:00:02"}
OLD, NEW = (f"/nix/store/{letter * 32}-nixos-system-ec-runner-26.05" for letter in "ab")
FIRST = "the-token-of-the-boot-that-installed"
FLEET: dict[str, Any] = {
    "groups": {"g": {"boot": "install", "healthUnits": ["x.service"]}},
    "nodes": {name: {"group": "g", "match": {"mac": [mac]}} for name, mac in MACS.items()},
}


class Site(DeskSite):
    """What a boot server has of it."""

    document = FLEET

    def open_desk(self) -> None:
        self.desk = DiskDesk(
            self.boots,
            self.fleet,
            name_client=lambda info: info.peer,
            base_url=lambda: "http://192.0.2.10:8080",
            runs_next=self.runs_next,
            clock=lambda: self.now,
            wall_clock=lambda: self.now,
        )

    async def runs_next(self, boot: NodeBoot, release: str) -> bool:
        return boot.report is not None and (release, boot.report.system) == ("r2", OLD)

    async def install(self, node: str, token: str = FIRST) -> None:
        install = NodeInstall(
            order="first", at=1.0, boot_id="b", disk="d", system=OLD, release="r1", done=True
        )
        override = NodeOverride(install=NodeInstall(**{**_fields(install), "credential": hash_token(token)}))
        await self.fleet.change(node, lambda _: override)

    async def say(self, node: str, shown: str, **fields: Any) -> tuple[str, str]:
        """The next credential, and the words, of a machine that has booted from its disk."""
        sent = {"system": OLD, "release": "r1", "mac": MACS[node], **fields}
        answer = (await self.post("disk-boot", sent, node=node, token=shown)).decode()
        lines = dict(line.split(" ", 1) for line in answer.splitlines())
        assert set(lines) == {"credential", "arguments"}
        return lines["credential"], lines["arguments"]

    async def post(self, path: str, fields: dict[str, Any], **query: str) -> bytes:
        self.now += 60
        info = RequestInfo(
            peer="192.0.2.7",
            method="POST",
            segments=(path.encode(),),
            query=MultiDict(query),
            headers=CIMultiDict(),
        )
        assert self.desk.is_for(info)
        self.desk.admit(info)
        body = urlencode({name.replace("_", "-"): value for name, value in fields.items()}, doseq=True)
        return await self.desk.receive(info, body.encode())

    async def refused(self, asking: Coroutine[Any, Any, Any], status: int = 403) -> None:
        with pytest.raises(RejectedError) as raised:
            await asking
        assert raised.value.status == status


def _fields(install: NodeInstall) -> dict[str, Any]:
    value = encode_override(NodeOverride(install=install))["install"]
    assert isinstance(value, dict)
    return value


def run(directory: Path, scenario: Callable[[Site], Coroutine[Any, Any, None]]) -> None:
    run_at_desk(Site(directory), scenario)


def find_token(words: str) -> str:
    return words.partition("report?boot=")[2].partition(" ")[0]


def test_each_boot_from_the_disk_is_one_of_the_node_and_has_its_report(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        shown = FIRST
        for number in range(3):
            shown, words = await site.say("a", shown)
            assert "every_channel.release=r1 every_channel.healthy_within=" in words
            assert words.endswith("every_channel.health_units=x.service")
            boot = site.boots.latest["a"]
            assert (boot.from_disk, boot.store_path, boot.group) == (True, OLD, "g")
            report = NodeReport(release="r1", system=OLD)
            boot = await site.boots.report(find_token(words), NodeStage.UP, report)
            assert boot.state is BootState.HEALTHY
            if number == 1:
                await site.reopen()
        assert len(await site.boots.list_boots("a")) == 3

    run(tmp_path, scenario)


def test_a_credential_is_good_for_one_boot_and_a_lost_answer_costs_nothing(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        await site.say("a", FIRST)  # its answer is lost
        await site.reopen()
        second, _ = await site.say("a", FIRST)
        third, _ = await site.say("a", second)
        for spent in (FIRST, "x" * 32, ""):
            await site.refused(site.say("a", spent))
        assert (await site.say("a", third))[0] not in (FIRST, second, third)

    run(tmp_path, scenario)


def test_what_a_later_version_has_kept_of_a_disk_is_not_written_over(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        entry = await site.store.get("overrides/a")
        assert entry is not None
        later = {**entry.value, "install": {**entry.value["install"], "done": "and more"}}
        await site.store.put("overrides/a", later)
        for _ in range(2):
            await site.fleet.load()
            await site.refused(site.say("a", FIRST), 503)
            await site.reopen()  # and knows of it no more
        found = await site.store.get("overrides/a")
        assert found is not None
        assert found.value == later
        await site.store.put("overrides/a", entry.value)
        await site.fleet.load()
        await site.say("a", FIRST)

    run(tmp_path, scenario)


def test_of_a_disk_that_was_copied_one_is_refused(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        one, _ = await site.say("a", FIRST)
        other, _ = await site.say("a", FIRST)  # the copy
        await site.say("a", other)
        await site.refused(site.say("a", one))

    run(tmp_path, scenario)


def test_who_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.refused(site.say("a", FIRST))  # nothing was installed on it
        await site.install("a")
        await site.install("b", "of-the-other-node-0123456789")
        # Another node's, another machine's, and one that says nothing of itself.
        await site.refused(site.say("a", "of-the-other-node-0123456789"))
        await site.refused(site.say("a", FIRST, mac=MACS["b"]))
        await site.refused(site.say("a", FIRST, mac=list(MACS.values())))
        await site.refused(site.say("a", FIRST, mac="garbage"))
        sent = {"system": OLD, "release": "r1", "mac": MACS["a"]}
        await site.refused(site.post("disk-boot", sent, node="nobody", token=FIRST))
        await site.refused(site.post("disk-boot", sent, token=FIRST))
        await site.refused(site.say("a", FIRST, system="/etc/passwd"), 400)
        assert site.boots.latest == {}
        await site.say("a", FIRST)

    run(tmp_path, scenario)


def test_what_cannot_be_kept_is_said_again(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        site.down = True
        await site.refused(site.say("a", FIRST), 503)
        assert "a" not in site.boots.latest
        site.down = False
        await site.say("a", FIRST)

    run(tmp_path, scenario)


def test_what_is_not_read_as_yet_refuses_nobody_for_good(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        second, words = await site.say("a", FIRST)
        before = site.boots.latest["a"]
        site.is_readable = False

        async def refused_for_now() -> None:
            await site.refused(site.say("a", second), 503)
            await site.refused(site.say("a", "x" * 32), 503)
            update = {"release": "r2", "step": "copy"}
            await site.refused(site.post("disk-update", update, token=find_token(words)), 503)

        await site.reopen()
        await refused_for_now()
        await site.boots.load()
        await refused_for_now()  # who is held, and by what it is known, is not read
        await site.reopen()
        await site.fleet.load()
        await refused_for_now()
        await site.boots.load()
        assert site.boots.latest == {"a": before}
        await site.say("a", second)
        assert (await site.boots.list_boots("a"))[1].state is BootState.ABANDONED

    run(tmp_path, scenario)


def test_strangers_are_told_to_come_later(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        statuses = []
        for _ in range(20):
            site.now -= 60
            with pytest.raises(RejectedError) as raised:
                await site.say("a", "nothing-that-is-known")
            statuses.append(raised.value.status)
        assert statuses[0] == 403
        assert statuses[-1] == 429

    run(tmp_path, scenario)


def test_the_first_boot_from_the_disk_is_the_one_that_installed_it(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        boot, token = await site.boots.begin(
            machine=f"mac {MACS['a']}",
            node="a",
            group="g",
            release="r1",
            tag="v1",
            system="s",
            client="192.0.2.7",
            within=3600,
            store_path=OLD,
            order="first",
        )
        await site.install("a", token)
        second, words = await site.say("a", token)
        assert find_token(words) == token
        assert site.boots.latest["a"].id == boot.id
        report = NodeReport(release="r1", system=OLD)
        assert (await site.boots.report(token, NodeStage.UP, report)).state is BootState.HEALTHY
        await site.say("a", second)
        assert site.boots.latest["a"].id != boot.id

    run(tmp_path, scenario)


def test_a_disk_that_went_back_has_a_boot_of_what_was_to_be_booted(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        _, words = await site.say("a", FIRST, tried_system=NEW, tried_release="r2")
        assert "every_channel.release=r2" in words
        report = NodeReport(release="r2", system=OLD)
        boot = await site.boots.report(find_token(words), NodeStage.UP, report)
        assert (boot.state, boot.release) == (BootState.UNHEALTHY, "r2")
        assert boot.why == f"{NEW} did not come up: the disk went back to {OLD}"

    run(tmp_path, scenario)


def test_how_far_an_update_is_stands_with_the_boot_that_runs(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        shown, words = await site.say("a", FIRST)
        token = find_token(words)
        site.now += 90 * 86400  # it runs for months
        error = {"release": "r2", "step": "copy", "error": "the disk is full"}
        assert await site.post("disk-update", error, token=token) == b"ok\n"
        update = site.boots.latest["a"].update
        assert update is not None
        assert (update.release, update.error) == ("r2", "the disk is full")
        await site.refused(site.post("disk-update", {"release": "r2", "step": "x"}, token=token), 400)
        await site.refused(site.post("disk-update", error, token="nobody-s"))
        await site.say("a", shown)
        await site.refused(site.post("disk-update", error, token=token))  # it has booted again since

    run(tmp_path, scenario)


def test_a_release_that_brings_what_runs_becomes_that_of_the_boot(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        _, words = await site.say("a", FIRST)
        token, same = find_token(words), {"release": "r2", "step": "same"}
        await site.refused(site.post("disk-update", same, token=token))  # nobody knows what runs
        await site.boots.report(token, NodeStage.UP, NodeReport(release="r1", system=OLD))
        await site.refused(site.post("disk-update", {**same, "release": "r3"}, token=token))
        assert site.boots.latest["a"].release == "r1"
        assert await site.post("disk-update", same, token=token) == b"ok\n"
        await site.reopen()
        boot = site.boots.latest["a"]
        assert (boot.release, boot.state, boot.update is not None) == ("r2", BootState.HEALTHY, True)
        # What cannot be is no other release.
        await site.post("disk-update", {**same, "release": "r3", "error": "unhealthy"}, token=token)
        assert site.boots.latest["a"].release == "r2"

    run(tmp_path, scenario)


def test_only_a_boot_that_is_healthy_is_another_release_s(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        _, words = await site.say("a", FIRST)
        token = find_token(words)
        await site.boots.report(token, NodeStage.UP, NodeReport(release="r1", system=OLD, healthy=False))
        await site.refused(site.post("disk-update", {"release": "r2", "step": "same"}, token=token))

    run(tmp_path, scenario)


def test_what_nothing_starts_is_told_of_the_boot_that_runs(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        tried = {"tried_system": NEW, "tried_release": "r2", "tried_why": "unbooted"}
        _, words = await site.say("a", FIRST, **tried)
        assert "every_channel.release=r1" in words
        report = NodeReport(release="r1", system=OLD)
        boot = await site.boots.report(find_token(words), NodeStage.UP, report)
        assert (boot.state, boot.release, boot.store_path) == (BootState.HEALTHY, "r1", OLD)
        assert boot.update is not None
        assert boot.update.release == "r2"
        assert "starts the system before each time" in (boot.update.error or "")

    run(tmp_path, scenario)


def test_an_installation_of_before_is_read(tmp_path: Path) -> None:
    old = {
        "order": "first",
        "at": 1.0,
        "boot_id": "b",
        "disk": "d",
        "system": OLD,
        "release": "r",
        "done": True,
    }
    override = parse_override({"hold": None, "once": None, "install": {**old, "leads": True}}, [])
    assert override.install is not None
    assert not override.install.accepts(hash_token(FIRST))


def test_who_guesses_for_a_node_is_told_of_as_often_as_an_address_may_ask(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(site: Site) -> None:
        await site.install("a")
        info = RequestInfo(
            peer="192.0.2.9",
            method="POST",
            segments=(b"disk-boot",),
            query=MultiDict({"node": "a", "token": "guess"}),
            headers=CIMultiDict(),
        )
        statuses = []
        for _ in range(300):
            with pytest.raises(RejectedError) as raised:
                site.desk.admit(info)
            statuses.append(raised.value.status)
        assert statuses == [403] * 16 + [429] * 284

    run(tmp_path, scenario)
    told = [each for each in caplog.messages if "a system on a disk is refused" in each]
    assert len(told) == 16
