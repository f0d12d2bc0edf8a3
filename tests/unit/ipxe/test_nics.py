"""The lines that go through a machine's NICs, run by an interpreter of as much of iPXE as they use."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest

from ectools.ipxe.language import find_labels, read_lines, split_commands
from ectools.ipxe.nics import MOST_NICS, build_lease, build_nic_walk, find_nics, leave_nic

_VARIABLE = re.compile(r"\$\{([^${}]*)\}")


@dataclass
class Machine:
    """NICs by name, each with what ``dhcp`` gives it (None: nothing), and the lease that firmware left."""

    leases: dict[str, str | None]
    of_firmware: str | None = None
    opened: list[str] = field(default_factory=list)
    has_link_wait: bool = True
    without_link: tuple[str, ...] = ()
    said: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=lambda: {"platform": "efi"})

    def look_up(self, name: str) -> str:
        name = name.partition(":")[0]
        block, _, setting = name.partition("/")
        nic = (self.opened[-1] if self.opened else "") if block == "netX" else block
        if setting == "mac":
            return "52:54:00:00:00:01" if nic in self.leases else ""
        if setting == "ifname":
            return nic
        if setting == "ip" and nic == self.of_firmware:
            return "192.0.2.9"
        return self.variables.get(name, "")

    def expand(self, word: str) -> str:
        while (found := _VARIABLE.search(word)) is not None:
            word = word[: found.start()] + self.look_up(found[1]) + word[found.end() :]
        return word

    def run(self, lines: list[str]) -> None:
        script = list(read_lines("\n".join(lines)))
        labels, at = find_labels(script), 0
        for _ in range(5000):
            if at >= len(script):
                return
            line, at = script[at], at + 1
            went = True
            for terminator, words in split_commands(line.words):
                if (terminator == "||") is went and terminator:
                    continue
                command, *arguments = [self.expand(word) for word in words] or [""]
                if command == "goto":
                    went = arguments[0] in labels
                    if went:
                        at = labels[arguments[0]]
                        break
                else:
                    went = self.execute(command, arguments)
            assert went, line.text
        raise AssertionError("no end")

    def execute(self, command: str, arguments: list[str]) -> bool:
        match command, arguments:
            case "set", [name, *values]:
                self.variables[name.partition(":")[0]] = " ".join(values)
            case "clear", [name]:
                self.variables.pop(name, None)
            case "inc", [name]:
                self.variables[name] = str(int(self.variables[name]) + 1)
            case "isset", [value]:
                return value != ""
            case "iseq", [one, other]:
                return one == other
            case "echo", words:
                self.said.append(" ".join(words))
            case "ifclose", []:
                self.opened.clear()
            case "iflinkwait", ["--timeout", _, nic]:
                self.variables["errno"] = "0x92" if self.has_link_wait else "0x81"
                self.said.append(f"link {nic}")
                return self.has_link_wait and nic not in self.without_link
            case "dhcp", [nic]:
                self.said.append(f"dhcp {nic}")
                if self.leases[nic] is not None:
                    self.opened.append(nic)
                return self.leases[nic] is not None
            case "", []:
                pass
            case _:
                raise AssertionError((command, arguments))
        return True


def go(machine: Machine, *, round_: int = 1) -> list[str]:
    """What is said of each NIC: ``go on`` marks one that has a lease and is then left."""
    machine.run(
        [
            *find_nics(),
            f"set ec-round:int32 {round_}",
            "set ec-for try",
            "goto nics",
            ":nic_try",
            *build_lease(),
            "echo leased ${ec-nic} of ${ec-nics}, ${netX/ifname} open",
            *leave_nic(),
            *build_nic_walk(),
            ":no_nic_try",
            "echo end",
        ]
    )
    return machine.said


def test_each_nic_is_opened_alone_and_the_first_is_the_one_that_firmware_had_a_lease_of() -> None:
    machine = Machine({"net0": "a", "net1": "b", "net2": "c"}, of_firmware="net1")
    assert go(machine) == [
        "dhcp net1",
        "leased net1 of 3, net1 open",
        "link net0",
        "dhcp net0",
        "leased net0 of 3, net0 open",
        "link net2",
        "dhcp net2",
        "leased net2 of 3, net2 open",
        "end",
    ]
    assert not any(name.endswith("/priority") for name in machine.variables)


def test_an_open_nic_comes_first_whatever_it_is_called() -> None:
    machine = Machine({"net0": None, "net0-100": "a"}, opened=["net0-100"], of_firmware="net0")
    assert go(machine)[:2] == ["dhcp net0-100", "leased net0-100 of 2, net0-100 open"]
    assert machine.variables["ec-state-net0"].startswith("no DHCP lease")


def test_where_nothing_tells_they_are_taken_in_their_order_and_gaps_are_passed_over() -> None:
    last = f"net{MOST_NICS - 1}"
    machine = Machine({"net1": "a", last: "b", f"net{MOST_NICS}": "c"})
    leased = [line for line in go(machine) if line.startswith("leased")]
    assert leased == [
        "leased net1 of 2, net1 open",
        f"leased {last} of 2, {last} open",
    ]


def test_without_a_nic_the_end_is_reached() -> None:
    assert go(Machine({})) == ["end"]


def test_a_nic_without_a_link_costs_no_dhcp_in_the_first_round() -> None:
    machine = Machine({"net0": "a", "net1": "b"}, of_firmware="net0", without_link=("net1",))
    assert go(machine) == ["dhcp net0", "leased net0 of 2, net0 open", "link net1", "end"]
    assert machine.variables["ec-state-net1"] == "no link"
    again = Machine({"net0": "a", "net1": None}, of_firmware="net0", without_link=("net1",))
    assert go(again, round_=2)[2:] == ["dhcp net1", "end"]


@pytest.mark.parametrize("age", ["no iflinkwait", "BIOS"])
def test_where_links_cannot_be_waited_for_dhcp_does_it(age: str) -> None:
    machine = Machine({"net0": None, "net1": "b"}, has_link_wait=age == "BIOS")
    if age == "BIOS":
        machine.variables["platform"] = "pcbios"
    assert [line for line in go(machine) if line.startswith("dhcp")] == ["dhcp net0", "dhcp net1"]
