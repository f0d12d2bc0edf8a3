"""A boot host that has not staged what a rollout leads to: its nodes boot all the same, and take no place."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, MultiDict
from support.begun_boots import begin_boot
from support.desk_site import DeskSite, run_at_desk
from support.fleets import make_fleet
from support.staged import make_release, put_release

from ectools.netboot.boots.model import NodeReport, NodeStage
from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.rollout.decide import list_fallbacks
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState
from ectools.netboot.server.policy import ServingPolicy
from ectools.netboot.server.rollout_service import RolloutService
from ectools.netboot.server.site import BootSite
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.release.manifest import Release

FILES = {name: {"bzImage": name.encode(), "initrd": b"i"} for name in ("v1", "v2", "v3")}
RELEASES = {name: replace(make_release(files), tag=f"boot-{name}") for name, files in FILES.items()}
OLD, NEW, OTHER = (RELEASES[name] for name in ("v1", "v2", "v3"))
PLAN = RolloutPlan(id="r", group="g", target=NEW.id, before=OLD.id, canary=2, base=OLD.id, at=1.0)


class Site(DeskSite):
    """Nodes ``a`` and ``b``; a rollout from v1 to v2."""

    document: dict[str, Any] = {  # noqa: RUF012 - as its base has it
        "groups": {"g": {"release": OLD.id}},
        "nodes": {name: {"group": "g", "match": {"serial": f"S-{name}"}} for name in ("a", "b")},
    }

    def open_desk(self) -> None:
        flags = {"stateDir": str(self.directory), "hostname": "192.0.2.10"}
        policy = ServingPolicy.build(
            load_netboot_settings(None, flags=flags, environment={}), (), make_fleet(**self.document)
        )
        releases = ReleaseStore(self.directory)
        service = RolloutService(self.store, fleet=self.fleet, boots=self.boots, releases=releases)
        self.rollouts = service.rollouts
        self.site = BootSite(
            releases,
            policy,
            clock=time.monotonic,
            boots=self.boots,
            live=self.fleet,
            rollouts=self.rollouts,
        )

    def stage(self, release: Release) -> None:
        put_release(self.directory, release, FILES[(release.tag or "").removeprefix("boot-")])

    async def ask(self, node: str) -> NodeBoot | None:
        """The boot that its script begins; None: it waits at its screen."""
        info = RequestInfo(
            peer="192.0.2.7",
            method="GET",
            segments=(b"netboot.ipxe",),
            query=MultiDict({"serial": f"S-{node}", "mac": ""}),
            headers=CIMultiDict(),
        )
        before = self.boots.latest.get(node)
        target = (await self.site.find(info)).target
        assert isinstance(target, bytes)
        boot = self.boots.latest.get(node)
        if b"asking again" in target:
            assert boot is before
            return None
        assert boot is not None
        assert boot.release.encode() in target
        return boot

    async def run_in_health(self, node: str, release: Release) -> None:
        """A boot that has ended well, before."""
        _, token = await begin_boot(
            self.boots, node, release.id, system="release", machine=f"serial S-{node}"
        )
        await self.boots.report(token, NodeStage.UP, NodeReport(release=release.id))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_who_asks_where_it_is_not_staged_takes_no_place_and_boots(site: Site) -> None:
    async def scenario(site: Site) -> None:
        site.stage(OLD)
        await site.rollouts.start(PLAN)
        boot = await site.ask("a")
        assert boot is not None
        assert boot.release == OLD.id
        assert site.rollouts.need("g").taken == {}
        site.stage(NEW)
        boot = await site.ask("a")
        assert boot is not None
        assert boot.release == NEW.id
        assert list(site.rollouts.need("g").taken) == ["a"]
        site.site.close()

    run_at_desk(site, scenario)


def test_who_was_given_it_elsewhere_boots_what_it_was_given_before(site: Site) -> None:
    async def scenario(site: Site) -> None:
        site.stage(OLD)
        await site.rollouts.start(PLAN)
        await site.rollouts.offer("g", "a")  # at another host
        boot = await site.ask("a")
        assert boot is not None
        assert boot.release == OLD.id
        site.site.close()

    run_at_desk(site, scenario)


def test_of_neither_release_it_is_what_it_ran_in_health(site: Site) -> None:
    async def scenario(site: Site) -> None:
        site.stage(OTHER)
        await site.rollouts.start(PLAN)
        assert await site.ask("b") is None  # of which nothing is known
        await site.run_in_health("a", OTHER)
        boot = await site.ask("a")
        assert boot is not None
        assert boot.release == OTHER.id
        # An order for one boot is followed, or waited for.
        await site.fleet.boot_once("a", site.fleet.assign(site.fleet.need("a")).boot, by=None, release=NEW.id)
        assert await site.ask("a") is None
        site.site.close()

    run_at_desk(site, scenario)


def test_nobody_goes_back_to_what_has_stopped_a_rollout() -> None:
    rollout = Rollout(plan=PLAN, taken={"a": 1.0})
    new, old = NEW.id, OLD.id
    assert list_fallbacks(rollout, "a", None) == [old]
    assert list_fallbacks(rollout, "a", OTHER.id) == [OTHER.id, old]
    assert list_fallbacks(rollout, "b", new) == [new]
    for state, ran, wanted in (
        (RolloutState.DONE, old, [old]),
        (RolloutState.STOPPED, new, []),
        (RolloutState.ABORTED, OTHER.id, [OTHER.id]),
    ):
        assert list_fallbacks(replace(rollout, state=state), "a", ran) == wanted


def test_a_group_without_a_rollout_waits_for_what_it_names(site: Site) -> None:
    async def scenario(site: Site) -> None:
        site.stage(OTHER)
        assert await site.ask("a") is None
        site.site.close()

    run_at_desk(site, scenario)
