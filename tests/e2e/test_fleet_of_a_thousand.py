"""A thousand nodes through the whole conversation, from DHCP to the report: each is told right."""

from __future__ import annotations

import asyncio
import json
import math
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.metrics import read_samples
from support.prometheus import check_metrics
from support.staged import make_release, put_release
from support.storm import (
    BOOT,
    Behaviour,
    build_mac,
    build_network,
    choose_behaviour,
    get_inside,
    require_storm,
    route_nodes,
    run_nodes,
    start,
    start_dhcp,
    wait_for_boot_host,
    write_boot_host,
)

from ectools.netboot.boots.archive import BootArchive
from ectools.netboot.boots.model import BootState, NodeBoot, NodeStage
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.timeout(600)]

COUNT, NAMED, GROUPS = 1000, 900, 4
WITHIN = 30
# Of twenty nodes.
BEHAVIOURS = [
    *[Behaviour.HEALTHY] * 16,
    *(Behaviour.UNHEALTHY, Behaviour.OTHER, Behaviour.HANGS, Behaviour.DIES),
]
LOADED = {NodeStage.SCRIPT, NodeStage.KERNEL, NodeStage.INITRD, NodeStage.LOADED}


def name_node(number: int) -> str:
    return f"node-{number:04}"


def write_fleet(path: Path) -> None:
    """The last hundred machines have no name."""
    fleet = {
        "groups": {f"group-{each}": {"healthyWithin": WITHIN} for each in range(GROUPS)},
        "nodes": {
            name_node(number): {
                "group": f"group-{number % GROUPS}",
                "match": {"mac": [build_mac(number).hex(":")]},
            }
            for number in range(NAMED)
        },
    }
    path.write_text(json.dumps(fleet))


def expect(number: int) -> tuple[BootState, str | None]:
    """The state of a node's boot, and why, as it begins."""
    is_named = number < NAMED
    match choose_behaviour(BEHAVIOURS, number):
        case Behaviour.HEALTHY:
            return BootState.HEALTHY, None
        case Behaviour.UNHEALTHY:
            return BootState.UNHEALTHY, "failed: every-channel-node.service"
        case Behaviour.OTHER:
            return BootState.UNHEALTHY, "runs sha256-ffff"
        case Behaviour.HANGS | Behaviour.DIES if is_named:
            return BootState.FAILED, f"no report within {WITHIN} s; last seen: "
        case _:  # ten minutes are not over
            return BootState.BOOTING, None


def expect_stages(number: int) -> set[NodeStage]:
    """At the least: what TFTP and DHCP say comes by dnsmasq's log, which may leave out lines."""
    more = {Behaviour.DIES: set(), Behaviour.HANGS: {NodeStage.RUNNING}}
    return LOADED | more.get(choose_behaviour(BEHAVIOURS, number), {NodeStage.RUNNING, NodeStage.UP})


def read_events(log: Path, event: str) -> list[dict[str, Any]]:
    lines = [line for line in log.read_text().split("\n")[:-1] if event in line]
    return [entry for line in lines if (entry := json.loads(line))["event"] == event]


def wait_for_failures(log: Path, nodes: set[str]) -> None:
    """Until the boots of these nodes have failed: no boot does in the first minute of a boot server."""
    end = time.monotonic() + 300
    while missing := nodes - {each["node"] for each in read_events(log, "a boot has failed")}:
        assert time.monotonic() < end, f"have not failed: {sorted(missing)}"
        time.sleep(0.5)  # the log has megabytes


def load_boots(state_dir: Path) -> Sequence[NodeBoot]:
    """Each subject's newest boot, as the store has it once the server has ended."""

    async def load() -> Sequence[NodeBoot]:
        store = SqliteStore(state_dir / "fleet" / STATE_FILE)
        await store.start()
        try:
            return await BootArchive(store).load()
        finally:
            await store.close()

    return asyncio.run(load())


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The nodes' own ``figures``; ``metrics`` and the API's ``rows`` after the last node has been told."""

    figures: dict[str, Any]
    metrics: str
    rows: list[dict[str, Any]]
    directory: Path


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    require_storm()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory = tmp_path_factory.mktemp("storm")
    release = make_release(architecture=KernelArchitecture.X86_64)
    put_release(directory / "state", release, {"bzImage": b"kernel", "initrd": b"initrd"})
    settings = write_boot_host(directory, first_stage_bytes=20_000, transfers=1024)
    write_fleet(directory / "fleet.json")
    raw = json.loads(settings.read_text())
    raw["fleet"]["file"] = str(directory / "fleet.json")
    settings.write_text(json.dumps(raw))
    log = directory / "serve.log"
    argv = [sys.executable, "-m", "ectools.cli.main", "netboot", "serve", "--config", str(settings)]
    # On a busy machine others fail before them, and come all the same.
    failing = {name_node(number) for number in range(COUNT) if expect(number)[0] is BootState.FAILED}
    with build_network() as network:
        route_nodes(network)
        with (
            start_dhcp(network, directory),
            start([*network.inside("boot"), *argv, "--log-format", "json"], log),
        ):
            wait_for_boot_host(network, log)
            figures = run_nodes(network, count=COUNT, arrival=10.0, behaviours=BEHAVIOURS)
            wait_for_failures(log, failing)
            metrics = get_inside(network, f"http://{BOOT}:9090/metrics")
            nodes = get_inside(network, f"http://{BOOT}:9090/api/v1/nodes")
    return Outcome(figures=figures, metrics=metrics, rows=json.loads(nodes)["nodes"], directory=directory)


def test_no_node_gives_up(storm: Outcome) -> None:
    assert storm.figures["gave up"] == {}
    assert storm.figures["booted"] == COUNT


def test_each_boot_is_told_right(storm: Outcome) -> None:
    by_machine = {boot.machine.split(",")[0]: boot for boot in load_boots(storm.directory / "state")}
    assert len(by_machine) == COUNT
    for number in range(COUNT):
        boot = by_machine[f"mac {build_mac(number).hex(':')}"]
        is_named = number < NAMED
        assert boot.node == (name_node(number) if is_named else None)
        assert boot.group == (f"group-{number % GROUPS}" if is_named else None)
        state, why = expect(number)
        assert boot.state is state, (number, boot)
        # On a busy machine its report may have been late, and counts.
        assert (boot.why or "").startswith(why or ("late by" if boot.why else "")), (number, boot)
        if boot.state is BootState.FAILED:
            # On a busy machine its initrd may have come to run after that.
            seen = [each for each in NodeStage if boot.stages.get(each, math.inf) <= (boot.ended or 0.0)]
            assert (boot.why or "").endswith(f"last seen: {seen[-1]}")
            assert seen[-1] in LOADED | {NodeStage.RUNNING}
        assert expect_stages(number) <= boot.stages.keys() <= {*NodeStage}
        assert {NodeStage.UP, NodeStage.RUNNING} & boot.stages.keys() <= expect_stages(number)
        times = [boot.stages[stage] for stage in NodeStage if stage in boot.stages]
        assert times == sorted(times)


def test_the_api_says_the_same(storm: Outcome) -> None:
    rows = {row["name"]: row for row in storm.rows}
    assert len(rows) == len(storm.rows) == COUNT
    for boot in load_boots(storm.directory / "state"):
        row = rows[boot.subject]
        assert (row["known"], row["group"]) == (boot.node is not None, boot.group)
        assert (row["state"], row["why"], row["boot"]) == (boot.state, boot.why, boot.id)
        assert row["stage"] == boot.last_stage
        assert row["release"]["id"] == boot.release


def test_the_metrics_have_each_of_them_once(storm: Outcome) -> None:
    metrics = storm.metrics
    check_metrics(metrics)
    (release,) = {boot.release for boot in load_boots(storm.directory / "state")}
    expected: Counter[tuple[str, str, str]] = Counter()
    for number in range(COUNT):
        group = f"group-{number % GROUPS}" if number < NAMED else ""
        expected[group, release, expect(number)[0]] += 1
    assert read_samples(metrics, "nodes") == expected
    assert len(read_samples(metrics, "node_info")) == NAMED
    assert sum(read_samples(metrics, "boots_begun_total").values()) == COUNT
    ended = read_samples(metrics, "boots_ended_total")
    for state in (BootState.HEALTHY, BootState.UNHEALTHY):
        wanted = sum(count for (_, _, each), count in expected.items() if each is state)
        assert sum(count for (_, result), count in ended.items() if result == state) == wanted
    reports = sum(NodeStage.RUNNING in expect_stages(each) for each in range(COUNT))
    reports += sum(NodeStage.UP in expect_stages(each) for each in range(COUNT))
    answers = read_samples(metrics, "reports_total")
    assert answers.pop(("accepted",)) == reports
    assert set(answers.values()) == {0}
    # dnsmasq's log says it, and may leave out lines.
    offers = read_samples(metrics, "proxy_dhcp_offers_total")
    assert offers.keys() == {("x64 UEFI",)}
    assert 0 < offers["x64 UEFI",] <= 4 * COUNT
    assert read_samples(metrics, "state_calls_total")["failed",] == 0
    # Every stage's histogram has every boot that came to it.
    for stage in (NodeStage.KERNEL, NodeStage.INITRD, NodeStage.LOADED, NodeStage.RUNNING, NodeStage.UP):
        counts = read_samples(metrics, "boot_stage_seconds_count")
        seen = sum(count for (_, each), count in counts.items() if each == stage)
        assert seen == sum(stage in expect_stages(number) for number in range(COUNT)), stage


def test_no_token_is_in_the_log_or_in_the_metrics(storm: Outcome) -> None:
    log = (storm.directory / "serve.log").read_text()
    boots = load_boots(storm.directory / "state")
    assert "report?boot=" not in storm.metrics
    assert not [boot.id for boot in boots if boot.token_hash in log]
    # The token itself is known to the node alone: what could be one follows its parameter.
    assert "report?boot=" not in log.replace("boot=***", "")
