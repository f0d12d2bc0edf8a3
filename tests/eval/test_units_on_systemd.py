"""Built units, settings, users and directories on a real systemd, as they are: from the boot to their end.

Each service (support/unit_cases.py) in each kind of machine (support/machine.py); the tests of one follow one
another on one machine, as the days of a host do.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.activation import OFF, Hosts, build_hosts
from support.guests import require_qemu
from support.machine import Machine
from support.machine_image import find_image
from support.machine_nspawn import boot_nspawn
from support.machine_qemu import QemuMachine, boot_qemu
from support.machine_store import build_store
from support.unit_cases import CASES, TOKEN, Case, find_files, is_answering, measure

pytestmark = [pytest.mark.nix, pytest.mark.qemu, pytest.mark.timeout(1200)]

PROBE = Path(__file__).parents[1] / "support" / "unit_probe.py"


@dataclass(frozen=True)
class Service:
    """One of the services on a machine."""

    case: Case
    machine: Machine
    hosts: Hosts

    @property
    def unit(self) -> str:
        return f"{self.case.unit}.service"

    def show(self, name: str) -> str:
        return self.machine.show(self.unit, name)[name]

    def wait_ready(self) -> None:
        """Until its unit is active: then it answers, without a further wait."""
        self.machine.wait_active(self.unit)
        if self.case.ready is not None:
            assert is_answering(self.machine, *self.case.ready)

    def wait_serving(self) -> None:
        """Until it does its work, for what of it may take its time."""
        self.wait_ready()
        self.machine.wait(lambda: self.case.serves(self.machine), f"{self.case.name} at work", unit=self.unit)

    def find_owner(self, name: str) -> str:
        """Mode, user and group of a path in its state directory."""
        path = f"{self.case.state}/{name}".rstrip("/")
        return self.machine.run("stat", "--format=%a %U %G", path).strip()

    def processes(self) -> list[str]:
        """The command lines of its user's processes."""
        argv = ["pgrep", "--uid", self.case.unit, "--list-full"]
        return self.machine.run(*argv, check=False).splitlines()

    def secrets_seen(self) -> str:
        """All command lines of the machine, and all of its journal."""
        said = self.machine.run("journalctl", "--no-pager", "--output=cat")
        return said + self.machine.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False)


@pytest.fixture(scope="module")
def hosts(nixpkgs: Path, nix_env: Mapping[str, str]) -> Hosts:
    configs: dict[str, Mapping[str, Any]] = {}
    for case in CASES.values():
        configs |= {case.name: case.config, f"{case.name}-changed": case.changed}
    return build_hosts(configs, nixpkgs=nixpkgs, nix_env=nix_env)


Machines = Callable[[str], Machine]


@pytest.fixture(scope="module")
def machines(
    hosts: Hosts, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machines]:
    """Boots a machine of a kind when it is first asked for."""
    require_qemu()
    directory = tmp_path_factory.mktemp("machines")
    image = find_image()
    store = build_store(directory, [hosts.path], nix_env, files=find_files(directory))
    with contextlib.ExitStack() as stack:

        @functools.cache
        def boot(kind: str) -> Machine:
            own = directory / kind
            own.mkdir()
            if kind == "qemu":
                return stack.enter_context(boot_qemu(own, image, store))
            return stack.enter_context(boot_nspawn(own, image, store))

        yield boot


ALL = [(kind, name) for kind in ("nspawn", "qemu") for name, case in CASES.items() if kind in case.kinds]
SUPERVISING = [(kind, name) for kind, name in ALL if CASES[name].server is not None]


@pytest.fixture(scope="module", params=ALL, ids="-".join)
def service(request: pytest.FixtureRequest, machines: Machines, hosts: Hosts) -> Iterator[Service]:
    """The service as its host's next boot brings it up; in a container, as the switch to the host does."""
    kind, name = request.param
    machine, case = machines(kind), CASES[name]
    for key, text in case.files.items():
        mode, path = key.split(" ")
        machine.write(path, text, mode=mode)
    hosts.activate(machine, case.name)
    if isinstance(machine, QemuMachine):
        machine.reboot()
    yield Service(case, machine, hosts)
    hosts.activate(machine, OFF)


def test_it_comes_up_in_order_and_is_ready_when_it_says_so(service: Service) -> None:
    service.wait_ready()
    reached = {
        name: int(service.machine.show(name, key)[key])
        for name, key in (
            ("local-fs.target", "ActiveEnterTimestampMonotonic"),
            ("network-online.target", "ActiveEnterTimestampMonotonic"),
            (service.unit, "ExecMainStartTimestampMonotonic"),
        )
    }
    assert 0 < reached["local-fs.target"] < reached[service.unit]
    assert 0 < reached["network-online.target"] < reached[service.unit]
    assert service.show("NRestarts") == "0"
    assert service.unit in service.machine.show("multi-user.target", "Wants")["Wants"].split()
    service.wait_serving()


def test_its_state_has_the_right_owners(service: Service) -> None:
    for name in service.case.owned:
        assert service.find_owner(name) == service.case.owned[name], name


def test_its_journal_is_of_events_and_without_secrets(service: Service) -> None:
    entries = service.machine.entries(service.unit)
    assert entries
    assert all({"event", "level"} <= entry.keys() for entry in entries)
    encoded = "a%2Fsecret%3Dtoken%3A7"
    seen = service.secrets_seen()
    assert TOKEN not in seen
    assert encoded not in seen


def test_its_credential_is_for_it_alone(service: Service) -> None:
    path = f"/run/credentials/{service.unit}/{service.case.credential}"
    assert service.machine.run("cat", path) == f"{TOKEN}\n"
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    for argv in (["cat", path], ["ls", path.rpartition("/")[0]]):
        done = service.machine.execute([*as_nobody, *argv])
        assert done.status != 0
        assert "Permission denied" in done.stderr
    environment = service.machine.run("cat", f"/proc/{service.show('MainPID')}/environ")
    assert TOKEN not in environment


def test_it_is_started_again_after_its_end(service: Service) -> None:
    service.machine.run("kill", "-KILL", service.show("MainPID"))
    service.machine.wait(lambda: service.show("NRestarts") == "1", "a restart", unit=service.unit)
    service.wait_ready()


@pytest.mark.parametrize("service", SUPERVISING, indirect=True, ids="-".join)
def test_it_outlives_the_death_of_its_server(service: Service) -> None:
    assert service.case.server is not None
    find = ["pgrep", "--parent", service.show("MainPID"), "--full", service.case.server]
    (before,) = service.machine.run(*find).split()
    service.machine.run("kill", "-KILL", before)

    def has_another() -> bool:
        return service.machine.run(*find, check=False).split() not in ([], [before])

    service.machine.wait(has_another, "another server", unit=service.unit)
    assert service.show("NRestarts") == "1"
    service.wait_ready()


def run_probe(service: Service, paths: Sequence[str]) -> dict[str, Any]:
    """What support/unit_probe.py finds in the place of the unit's program; else the unit is as it is."""
    machine, name = service.machine, f"probe-{service.case.name}.service"
    machine.write("/usr/lib/unit_probe.py", PROBE.read_text())
    asked = json.dumps({"paths": paths, "credential": service.case.credential}).replace('"', '\\"')
    unit = f"/run/systemd/system/{name}"
    machine.write(unit, machine.run("cat", machine.show(service.unit, "FragmentPath")["FragmentPath"]))
    machine.write(
        f"{unit}.d/probe.conf",
        "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStartPost=\nExecStart=\n"
        f'ExecStart=/usr/bin/python3 /usr/lib/unit_probe.py "{asked}"\n'
        # The directory is the running service's too.
        "RuntimeDirectoryPreserve=yes\n",
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", name, check=False)
    found = [entry["probe"] for entry in machine.entries(name)]
    assert found, machine.report(name)
    machine.run("rm", "-r", unit, f"{unit}.d")
    machine.run("systemctl", "daemon-reload")
    return dict(found[0])


def test_its_sandbox_holds(service: Service) -> None:
    case = service.case
    closed = [f"{directory}/probe" for directory in ("", "/etc", "/usr", "/srv", "/var/lib", "/nix", "/boot")]
    opened = ["/tmp/probe"]
    (opened if case.writes else closed).append(f"{case.state}/probe")
    found = run_probe(service, closed + opened)
    # Not EACCES: what its user may not do anyway says nothing of the sandbox.
    assert found["writes"] == {**dict.fromkeys(closed, "EROFS"), **dict.fromkeys(opened, "yes")}
    assert service.machine.run("find", "/tmp", "-name", "probe") == ""
    assert {name for name, answer in found["families"].items() if answer == "yes"} == case.families
    assert found["uid"] == int(service.machine.run("id", "--user", case.unit))
    assert {int(value, 16) for value in found["capabilities"].values()} <= {0, case.capabilities}
    assert (found["no_new_privileges"], found["seccomp"]) == ("1", "2")
    assert "Operation not permitted" in found["namespace"]
    assert found["homes"] == []
    assert found["credential"] == hashlib.sha256(f"{TOKEN}\n".encode()).hexdigest()


def test_a_second_activation_takes_up_new_settings(service: Service) -> None:
    run = service.show("InvocationID")
    service.hosts.activate(service.machine, service.case.name)
    assert service.show("InvocationID") == run, "nothing has changed, and it was started again"
    service.hosts.activate(service.machine, f"{service.case.name}-changed")
    service.wait_ready()
    assert service.show("InvocationID") != run
    service.machine.wait(
        lambda: service.case.says_changed(service.machine), "the changed settings", unit=service.unit
    )


def test_disabled_it_stops_in_time_and_leaves_nothing_but_its_state(service: Service) -> None:
    assert service.processes()
    seconds = measure(lambda: service.hosts.activate(service.machine, OFF))
    assert seconds < service.case.stop_seconds
    assert f"{service.unit}: Deactivated successfully." in service.machine.journal(service.unit)[-2000:]
    assert service.show("LoadState") == "not-found"
    assert service.show("ActiveState") == "inactive"
    assert service.processes() == []
    assert service.machine.run("find", "/sys/class/net", "-name", "ec*") == ""
    assert service.machine.run("find", "/etc", "!", "-type", "d", "-path", "*every-channel*") == ""
    for name in service.case.kept:
        assert service.find_owner(name) == service.case.owned[name], name
