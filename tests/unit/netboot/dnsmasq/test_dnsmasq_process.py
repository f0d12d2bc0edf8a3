"""dnsmasq as a child: a shell script in its place, which says what dnsmasq would say."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from ectools import log
from ectools.capabilities import Capability
from ectools.log_limit import LogLimit
from ectools.netboot.dnsmasq import process, tftp_load
from ectools.netboot.dnsmasq.liveness import WatchedProcess
from ectools.netboot.dnsmasq.model import BootServices, Offer, Proxy
from ectools.netboot.dnsmasq.plan import DnsmasqPlan
from ectools.netboot.dnsmasq.process import Dnsmasq, DnsmasqUser, build_dnsmasq_argv, find_dnsmasq_user
from ectools.netboot.dnsmasq.tftp_load import TftpFigures
from ectools.netboot.dnsmasq.transfer_limit import TransferShare
from ectools.netboot.protocols import load_protocols
from ectools.privileges import Identity
from ectools.processes import start_async
from ectools.supervision import ChildFailedError, ChildState, RestartPolicy

SERVES = "echo 'dnsmasq[7]: started, version 2.90 DNS disabled'"
STAYS = "exec sleep 600"
PROXY = Proxy(networks=(IPv4Network("192.0.2.0/24"),), base_url="http://192.0.2.10:8080")


# How root starts it


@pytest.mark.parametrize("reads_all", [False, True])
@pytest.mark.parametrize("proxy", [False, True])
def test_from_root_it_gets_the_rights_that_it_needs_and_no_more(
    monkeypatch: pytest.MonkeyPatch, reads_all: bool, proxy: bool
) -> None:
    monkeypatch.setattr(process, "find_program", lambda name, *, hint: f"/bin/{name}")
    argv = build_dnsmasq_argv(
        "/usr/sbin/dnsmasq", proxy=proxy, identity=DnsmasqUser(uid=5, gid=6, reads_all=reads_all)
    )
    granted = "-all,+net_bind_service" + ",+dac_read_search" * reads_all + ",+net_admin" * proxy
    assert argv == [
        "/bin/setpriv",
        "--reuid=5",
        "--regid=6",
        "--clear-groups",
        "--no-new-privs",
        f"--inh-caps={granted}",
        f"--ambient-caps={granted}",
        f"--bounding-set={granted}",
        "--pdeathsig=KILL",
        "--",
        "/usr/sbin/dnsmasq",
        "--conf-file=-",
    ]


def test_anybody_else_starts_it_as_it_is() -> None:
    assert build_dnsmasq_argv("dnsmasq", proxy=True, identity=None) == ["dnsmasq", "--conf-file=-"]


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        (0, DnsmasqUser(uid=65534, gid=65534, reads_all=True)),
        (1000, DnsmasqUser(uid=1000, gid=100, reads_all=False)),
    ],
)
def test_it_runs_as_who_may_write_its_directories(
    monkeypatch: pytest.MonkeyPatch, uid: int, expected: DnsmasqUser
) -> None:
    asked: list[tuple[Path, ...]] = []

    def find(*directories: Path) -> Identity:
        asked.append(directories)
        return Identity(uid=uid, gid=100, groups=())

    monkeypatch.setattr(process, "find_directory_user", find)
    assert find_dnsmasq_user([Path("/a"), Path("/b")]) == expected
    assert asked == [(Path("/a"), Path("/b"))]


# The running program


@dataclass
class World:
    """What happened, and what the parts beside the process do."""

    directory: Path
    stream: io.StringIO
    delivered: list[tuple[str, str]] = field(default_factory=list)
    states: list[ChildState] = field(default_factory=list)
    watched: list[WatchedProcess] = field(default_factory=list)
    capabilities: list[frozenset[Capability]] = field(default_factory=list)
    hangs: str | None = None

    def plan(self, *lines: str, configuration: str = "port=0\n", proxy: Proxy | None = None) -> DnsmasqPlan:
        """A plan whose program is a script of these lines."""
        program = self.directory / "dnsmasq"
        program.write_text("\n".join(["#!/bin/sh", f"cd {self.directory}", *lines]) + "\n")
        program.chmod(0o755)
        seven = load_protocols().find_architecture(7)
        assert seven is not None
        return DnsmasqPlan(
            program=str(program),
            services=BootServices(
                listen_ip=IPv4Address("192.0.2.10"),
                tftp_dir=self.directory / "tftp",
                max_transfers=40,
                offers=(Offer(architecture=seven, filename="ec-ipxe.efi"),),
                proxy=proxy,
            ),
            configuration=configuration,
            directories=(self.directory,),
        )

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def told(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.events() if entry["event"] == event]

    def run(self, plan: DnsmasqPlan, scenario: Callable[[Dnsmasq], Awaitable[None]], **options: Any) -> None:
        """``scenario`` while dnsmasq runs."""

        async def main() -> None:
            dnsmasq = Dnsmasq(
                plan,
                delivered=lambda *what: self.delivered.append(what),
                changed=self.states.append,
                **options,
            )
            async with asyncio.timeout(60), dnsmasq.running(unless=asyncio.Event()):
                await scenario(dnsmasq)

        asyncio.run(main())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(directory=tmp_path, stream=io.StringIO())

    async def watch(watched: WatchedProcess, *, answered: Callable[[], None]) -> str:
        world.watched.append(watched)
        answered()
        if world.hangs is None:
            await asyncio.Event().wait()
        how, world.hangs = world.hangs, None
        return str(how)

    @contextlib.asynccontextmanager
    async def start(argv: Sequence[str], **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
        world.capabilities.append(frozenset(options.pop("capabilities")))
        async with start_async(argv, **options) as child:
            yield child

    monkeypatch.setattr(process, "watch_liveness", watch)
    monkeypatch.setattr(process, "start_async", start)
    monkeypatch.setattr(process.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(process, "_POLICY", RestartPolicy(first_pause=0.0))
    log.set_up(json_lines=True, stream=world.stream)
    yield world
    log.set_up()


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.005)


def test_it_serves_and_what_it_delivers_is_told(world: World) -> None:
    plan = world.plan(
        'echo "$LC_ALL ${HOME-unset} $*" >environment',
        "cat >configuration",
        SERVES,
        "echo 'dnsmasq-tftp[7]: sent $PWD/tftp/ec-ipxe.efi to 192.0.2.20' >&2".replace("'", '"'),
        STAYS,
        configuration="port=0\nlog-dhcp\n",
    )

    async def scenario(dnsmasq: Dnsmasq) -> None:
        await until(lambda: world.delivered and dnsmasq.answered)
        assert dnsmasq.state is ChildState.RUNNING
        assert dnsmasq.answered is not None
        assert abs(dnsmasq.answered - asyncio.get_running_loop().time()) < 60
        assert world.told("dnsmasq serves")[0]["pid"] == dnsmasq.pid
        assert dnsmasq.pid is not None
        os.kill(dnsmasq.pid, 0)
        (watched,) = world.watched
        assert watched == WatchedProcess(
            pid=dnsmasq.pid,
            address=IPv4Address("192.0.2.10"),
            directory=world.directory / "tftp",
            files=("autoexec.ipxe", "ec-ipxe.efi"),
            max_transfers=40,
        )
        assert (dnsmasq.restarts, dnsmasq.tftp) == (0, TftpFigures(transfers=0, max_transfers=40, sent=1))
        assert dnsmasq.details() == {"dnsmasq_restarts": 0, "tftp": dnsmasq.tftp.to_json()}

    world.run(plan, scenario)
    assert world.delivered == [("192.0.2.20", "ec-ipxe.efi")]
    assert (world.directory / "configuration").read_text() == "port=0\nlog-dhcp\n"
    assert (world.directory / "environment").read_text() == "C unset --conf-file=-\n"
    assert world.told("dnsmasq serves")[0]["proxy_dhcp"] is False
    assert world.states == [ChildState.RUNNING]
    assert not Path(f"/proc/{world.watched[0].pid}").exists()


@pytest.mark.parametrize("proxy", [None, PROXY])
def test_it_gets_those_of_this_processs_rights_that_it_needs(world: World, proxy: Proxy | None) -> None:
    async def scenario(dnsmasq: Dnsmasq) -> None:
        pass

    grants = (Capability.NET_ADMIN, Capability.NET_BIND_SERVICE, Capability.DAC_OVERRIDE)
    world.run(world.plan(SERVES, STAYS, proxy=proxy), scenario, grants=grants)
    expected = {Capability.NET_BIND_SERVICE} | ({Capability.NET_ADMIN} if proxy else set())
    world.run(world.plan(SERVES, STAYS, proxy=proxy), scenario)
    assert world.capabilities == [expected, frozenset()]
    assert world.told("dnsmasq serves")[0]["proxy_dhcp"] is (proxy is not None)


def test_one_that_does_not_start_says_all_its_last_lines(world: World) -> None:
    async def scenario(dnsmasq: Dnsmasq) -> None:
        pytest.fail("it serves")

    plan = world.plan("echo 'dnsmasq: first' >&2", "sleep 0.1", "echo 'dnsmasq: second' >&2", "exit 3")
    with pytest.raises(ChildFailedError) as caught:
        world.run(plan, scenario)
    assert caught.value.message == (
        "dnsmasq did not start: exit status 3\n  dnsmasq: first\n  dnsmasq: second"
    )
    assert world.states == [ChildState.FAILED]


def test_one_that_dies_is_started_again_and_its_last_line_told(world: World) -> None:
    plan = world.plan(
        SERVES,
        "test -e again && exec sleep 600",
        "touch again",
        "sleep 0.2",
        "echo 'dnsmasq: one' >&2; sleep 0.1; echo 'dnsmasq: two' >&2",
        "exit 2",
    )

    async def scenario(dnsmasq: Dnsmasq) -> None:
        first = dnsmasq.pid
        await until(lambda: len(world.watched) == 2)
        assert dnsmasq.pid not in (first, None)
        assert (dnsmasq.restarts, dnsmasq.details()["dnsmasq_restarts"]) == (1, 1)
        assert dnsmasq.state is ChildState.RUNNING

    world.run(plan, scenario)
    (died,) = world.told("dnsmasq died; it is started again")
    assert died["how"] == "exit status 2: dnsmasq: two"
    assert world.states == [ChildState.RUNNING, ChildState.RESTARTING, ChildState.RUNNING]


def test_one_that_dies_without_a_word(world: World) -> None:
    plan = world.plan(SERVES, "test -e again && exec sleep 600", "touch again", "sleep 0.2", "kill -9 $$")

    async def scenario(dnsmasq: Dnsmasq) -> None:
        await until(lambda: dnsmasq.restarts == 1)
        assert dnsmasq.pid is None
        assert dnsmasq.answered is None
        await until(lambda: len(world.watched) == 2)

    world.run(plan, scenario)
    assert world.told("dnsmasq died; it is started again")[0]["how"] == "killed by SIGKILL"


def test_each_death_is_told_with_its_own_words(world: World) -> None:
    plan = world.plan(
        SERVES,
        "test -e thrice && exec sleep 600",
        "sleep 0.1",
        "test -e twice && touch thrice && exit 4",
        "touch twice",
        "echo 'dnsmasq: a word' >&2",
        "exit 3",
    )

    async def scenario(dnsmasq: Dnsmasq) -> None:
        await until(lambda: len(world.watched) == 3)
        assert dnsmasq.restarts == 2

    world.run(plan, scenario)
    assert [entry["how"] for entry in world.told("dnsmasq died; it is started again")] == [
        "exit status 3: dnsmasq: a word",
        "exit status 4",
    ]


def test_before_it_serves_there_is_no_process_to_tell_of(world: World) -> None:
    async def main() -> None:
        dnsmasq = Dnsmasq(world.plan(SERVES), delivered=lambda *_: None)
        assert (dnsmasq.pid, dnsmasq.answered, dnsmasq.restarts) == (None, None, 0)
        assert dnsmasq.state is ChildState.STARTING

    asyncio.run(main())


def test_one_that_hangs_is_ended_and_started_again(world: World) -> None:
    world.hangs = "it did not answer over TFTP, 2 times in a row"

    async def scenario(dnsmasq: Dnsmasq) -> None:
        await until(lambda: len(world.watched) == 2)
        assert dnsmasq.restarts == 1

    world.run(world.plan(SERVES, STAYS), scenario)
    (died,) = world.told("dnsmasq died; it is started again")
    assert died["how"] == "it did not answer over TFTP, 2 times in a row"
    assert not Path(f"/proc/{world.watched[0].pid}").exists()


def test_one_that_never_says_that_it_serves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_START_SECONDS", 0.05)

    async def scenario(dnsmasq: Dnsmasq) -> None:
        pytest.fail("it serves")

    with pytest.raises(ChildFailedError, match=r"it did not say within 0.05 s that it serves"):
        world.run(world.plan("exec sleep 600"), scenario)


def test_another_plan_is_taken_by_a_start_that_is_no_death(world: World) -> None:
    plan = world.plan("cat >configuration", SERVES, STAYS, configuration="one\n")

    async def scenario(dnsmasq: Dnsmasq) -> None:
        assert not dnsmasq.reconfigure(plan)
        other = replace(plan, configuration="two\n")
        assert dnsmasq.reconfigure(other)
        assert not dnsmasq.reconfigure(replace(plan, configuration="two\n"))
        await until(lambda: len(world.watched) == 2)
        assert (dnsmasq.restarts, dnsmasq.state) == (0, ChildState.RUNNING)
        # It is one new start for one new plan.
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(world.watched) == 2

    world.run(plan, scenario)
    assert (world.directory / "configuration").read_text() == "two\n"
    assert len(world.told("dnsmasq is started again with its new configuration")) == 1
    assert world.states == [ChildState.RUNNING]


def test_another_plan_while_it_starts(world: World) -> None:
    """It is not waited for: the old plan may be one that never serves."""
    silent = world.plan("cat >/dev/null", "exec sleep 600")

    async def main() -> None:
        dnsmasq = Dnsmasq(silent, delivered=lambda *_: None)
        async with asyncio.timeout(60):
            entering = asyncio.create_task(_enter(dnsmasq))
            await until(lambda: world.capabilities)
            assert dnsmasq.reconfigure(replace(world.plan(SERVES, STAYS), configuration="two\n"))
            await entering

    async def _enter(dnsmasq: Dnsmasq) -> None:
        async with dnsmasq.running(unless=asyncio.Event()):
            assert dnsmasq.state is ChildState.RUNNING

    asyncio.run(main())
    assert len(world.capabilities) == 2


# The limit per address


TURNED_AWAY = "TFTP turned away who has his share of the transfers"


class Table:
    """In the place of nftables: what was loaded, and what it counts."""

    def __init__(self) -> None:
        self.did: list[object] = []
        self.counts = [0, 7, 0, 3]

    def load(self, share: TransferShare) -> None:
        self.did.append(share)

    def count_rejected(self) -> int | None:
        return self.counts.pop(0) if self.counts else None

    def remove(self) -> None:
        self.did.append("removed")


def test_the_limit_is_loaded_before_it_serves_counted_and_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOOK_SECONDS", "_REPORT_SECONDS"):
        monkeypatch.setattr(tftp_load, name, 0.001)
    table = Table()

    async def scenario(dnsmasq: Dnsmasq) -> None:
        share = TransferShare(address=IPv4Address("192.0.2.10"), max_transfers=40, uid=1000)
        assert table.did == [share]
        await until(lambda: not table.counts and len(world.told(TURNED_AWAY)) == 2)
        assert dnsmasq.tftp.refused == 10

    world.run(world.plan(SERVES, STAYS), scenario, table=table)
    assert table.did[1:] == ["removed"]
    told = world.told(TURNED_AWAY)
    assert [(entry["level"], entry["requests"]) for entry in told] == [("warning", 7), ("warning", 3)]


def test_the_limit_is_for_the_user_that_root_starts_it_as(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        process, "find_dnsmasq_user", lambda directories: DnsmasqUser(uid=77, gid=78, reads_all=False)
    )
    identities: list[DnsmasqUser | None] = []

    def build(program: str, *, proxy: bool, identity: DnsmasqUser | None) -> list[str]:
        identities.append(identity)
        return [program]

    monkeypatch.setattr(process, "build_dnsmasq_argv", build)
    table = Table()

    async def scenario(dnsmasq: Dnsmasq) -> None:
        pass

    world.run(world.plan(SERVES, STAYS), scenario, table=table)
    share = table.did[0]
    assert isinstance(share, TransferShare)
    assert share.uid == 77
    assert identities == [DnsmasqUser(uid=77, gid=78, reads_all=False)]


def test_what_was_left_out_of_the_log_is_told_at_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Limit(LogLimit):
        def close(self) -> None:
            closed.append(self._source)

    monkeypatch.setattr(process, "LogLimit", Limit)

    async def scenario(dnsmasq: Dnsmasq) -> None:
        assert closed == []

    world.run(world.plan(SERVES, STAYS), scenario)
    assert closed == ["dnsmasq"]


def test_it_writes_its_log_without_waiting_and_what_it_left_out_is_counted(world: World) -> None:
    """A pipe that nobody reads is full after a while: then a write fails (EAGAIN), and does not wait."""
    flags = "import fcntl, os; print([fcntl.fcntl(n, fcntl.F_GETFL) & os.O_NONBLOCK for n in (1, 2)])"
    size = "import fcntl; print(fcntl.fcntl(2, fcntl.F_GETPIPE_SZ))"
    plan = world.plan(
        *(f'{sys.executable} -c "{program}"' for program in (flags, size)),
        SERVES,
        "echo 'dnsmasq[7]: overflow: 12 log entries lost' >&2",
        STAYS,
    )

    async def scenario(dnsmasq: Dnsmasq) -> None:
        await until(lambda: dnsmasq.tftp.lines_lost)
        assert dnsmasq.tftp.lines_lost == 12

    world.run(plan, scenario)
    told = [entry["line"] for entry in world.told("dnsmasq")]
    assert f"[{os.O_NONBLOCK}, {os.O_NONBLOCK}]" in told
    assert int(next(line for line in told if line.isdigit())) >= 1 << 16


def test_no_descriptor_is_left(world: World) -> None:
    async def scenario(dnsmasq: Dnsmasq) -> None:
        pass

    world.run(world.plan(SERVES, STAYS), scenario)
    before = len(os.listdir("/proc/self/fd"))
    world.run(world.plan(SERVES, STAYS), scenario)
    assert len(os.listdir("/proc/self/fd")) == before
