"""JSON → a guest's settings: all that is wrong at once, every option in its place, and no exception."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.settings_documents import documents, list_options

from ectools.errors import ProblemsError
from ectools.parsing import ListenAddress, Problems
from ectools.schemas import check_settings, load_schema
from ectools.vm.argv import Accelerator, Tap, build_qemu_argv
from ectools.vm.boot_script import build_boot_script, find_effective_url
from ectools.vm.build import build_boot_script_settings, build_guest_settings
from ectools.vm.loopback import build_rules, find_openings
from ectools.vm.settings import (
    GUEST_OPTIONS,
    GUEST_SCHEMA,
    Chain,
    Disk,
    HostLoopback,
    Http,
    KvmPolicy,
    Lan,
    Macvtap,
    MacvtapMode,
    Shutdown,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings

SCHEMA = load_schema(GUEST_SCHEMA)
PATH = "an absolute path, without .. or control characters"
WEEK = 7 * 24 * 3600


def find_problems(
    settings_of: Callable[..., GuestSettings], change: dict[str, Any]
) -> list[tuple[str, str, str | None]]:
    """The option, the message and what was expected, of each problem."""
    with pytest.raises(ProblemsError) as caught:
        settings_of(change)
    return [
        (problem.option.removeprefix(f"{GUEST_OPTIONS}."), problem.message, problem.expected)
        for problem in caught.value.problems
    ]


def test_defaults_follow_from_each_other(settings_of: Callable[..., GuestSettings]) -> None:
    settings = settings_of()
    assert (settings.machine, settings.cpu, settings.kvm) == ("q35,accel=kvm", "host", KvmPolicy.PREFERRED)
    assert settings.package is None
    assert settings.disk == Disk(path=Path("/var/lib/every-channel/ipxe-qemu/disk.qcow2"), size="16G")
    assert settings.boot.user_net.tftp_dir == Path("/var/lib/every-channel/ipxe-qemu/tftp")
    assert settings.boot.user_net.boot_file is None
    assert settings.boot.chain is None
    assert settings.lan is None
    off = settings_of({"enableKvm": False, "stateDir": "/s"})
    assert (off.machine, off.cpu, off.kvm) == ("q35,accel=tcg", "max", KvmPolicy.NEVER)
    assert (off.disk.path, off.boot.user_net.tftp_dir) == (Path("/s/disk.qcow2"), Path("/s/tftp"))
    assert settings_of({"requireKvm": True}).kvm is KvmPolicy.REQUIRED


def test_every_option_has_its_place(settings_of: Callable[..., GuestSettings]) -> None:
    settings = settings_of(
        {
            "package": "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-qemu",
            "name": "n",
            "machine": "pc",
            "cpu": "max",
            "vcpus": 3,
            "memoryMiB": 5,
            "serial": "null",
            "stateDir": "/s",
            "disk": {"path": "/d", "size": "1G"},
            "boot": {
                "order": "order=c",
                "chainUrl": "https://a/x",
                "chainTokenFile": "/run/token",
                "progressSeconds": 6,
                "http": {"bindIp": "::1", "port": 7, "root": "/r"},
                "userNet": {
                    "hostname": "h",
                    "dnsServers": ["9.9.9.9", "1.1.1.1"],
                    "tftpDir": "/t",
                    "bootFilename": "f",
                    "model": "m",
                    "hostLoopback": "all",
                },
            },
            "lan": {
                "enable": True,
                "model": "l",
                "macvtap": {
                    "interface": "eth0",
                    "name": "tap",
                    "mode": "vepa",
                    "macAddress": "02:EC:00:00:00:01",
                },
            },
            "shutdown": {"powerdownSeconds": 8, "quitSeconds": 9, "terminateSeconds": 10},
            "extraArgs": ["-s", "-x"],
        }
    )
    assert settings.package == Path("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-qemu")
    assert (settings.name, settings.machine, settings.cpu) == ("n", "pc", "max")
    assert (settings.vcpus, settings.memory_mib, settings.serial) == (3, 5, "null")
    assert settings.state_dir == Path("/s")
    assert settings.disk == Disk(path=Path("/d"), size="1G")
    boot = settings.boot
    assert (boot.order, boot.progress_seconds) == ("order=c", 6)
    assert boot.chain == Chain(url="https://a/x", token_file=Path("/run/token"))
    assert boot.http == Http(listen=ListenAddress(ip=IPv6Address("::1"), port=7), root=Path("/r"))
    net = boot.user_net
    assert (net.hostname, net.dns, net.tftp_dir) == ("h", IPv4Address("9.9.9.9"), Path("/t"))
    assert (net.boot_filename, net.boot_file, net.model) == ("f", None, "m")
    assert net.host_loopback is HostLoopback.ALL
    assert settings.lan == Lan(
        model="l",
        macvtap=Macvtap(interface="eth0", name="tap", mode=MacvtapMode.VEPA, mac_address="02:EC:00:00:00:01"),
    )
    assert settings.shutdown == Shutdown(powerdown_seconds=8, quit_seconds=9, terminate_seconds=10)
    assert settings.extra_args == ("-s", "-x")
    assert settings_of({"boot": {"userNet": {"bootFile": "/b"}}}).boot.user_net.boot_file == Path("/b")


def test_a_server_that_is_not_run_has_no_root(settings_of: Callable[..., GuestSettings]) -> None:
    assert settings_of().boot.http.root == Path("/srv/netboot")
    assert settings_of({"boot": {"http": {"enable": False}}}).boot.http.root is None


def test_all_that_is_wrong_is_said_at_once_in_the_order_of_the_options(
    settings_of: Callable[..., GuestSettings],
) -> None:
    """Each rule is applied, whatever the others say."""
    change = {
        "name": "",
        "machine": "",
        "cpu": "",
        "enableKvm": False,
        "requireKvm": True,
        "vcpus": 4097,
        "memoryMiB": 2**33,
        "serial": "",
        "stateDir": "s",
        "disk": {"path": "d", "size": ""},
        "boot": {
            "order": "",
            "chainUrl": "http://u:pa55@a/",
            "chainTokenFile": "t",
            "progressSeconds": WEEK + 1,
            "http": {"bindIp": "", "root": "r"},
            "userNet": {
                "hostname": "",
                "dnsServers": ["1.1.1.1", "x", "10.0.2.2"],
                "tftpDir": "t",
                "bootFilename": "",
                "bootFile": "b",
                "model": "",
            },
        },
        "lan": {
            "model": "",
            "macvtap": {"interface": "", "name": "", "macAddress": "00:00:00:00:00:00"},
        },
        "shutdown": {
            "powerdownSeconds": WEEK + 1,
            "quitSeconds": WEEK + 1,
            "terminateSeconds": WEEK + 1,
        },
        "extraArgs": ["-s", "-S", "-accel"],
    }
    found = find_problems(settings_of, change)
    assert [option for option, _, _ in found] == [
        *("name", "machine", "cpu", "requireKvm", "vcpus", "memoryMiB", "serial", "stateDir"),
        *("disk.path", "disk.size", "boot.order", "boot.progressSeconds"),
        *("boot.chainTokenFile", "boot.chainUrl", "boot.http.bindIp"),
        *("boot.userNet.dnsServers[1]", "boot.userNet.dnsServers[2]", "boot.http.root"),
        *("boot.userNet.hostname", "boot.userNet.tftpDir", "boot.userNet.bootFilename"),
        *("boot.userNet.bootFile", "boot.userNet.bootFile", "boot.userNet.model"),
        *("lan.model", "lan.macvtap.interface", "lan.macvtap.name", "lan.macvtap.macAddress"),
        *("shutdown.powerdownSeconds", "shutdown.quitSeconds", "shutdown.terminateSeconds"),
        *("extraArgs[1]", "extraArgs[2]"),
    ]
    assert "pa55" not in str(found)


LINK = "a link's name: letters, digits and . _ -, at most 15 bytes"
CONTRADICTIONS: list[tuple[dict[str, Any], list[tuple[str, str, str]]]] = [
    (
        {"enableKvm": False, "requireKvm": True},
        [("requireKvm", "contradicts enableKvm = false: true", "enableKvm to be true, or this to be false")],
    ),
    (
        {"lan": {"enable": True}},
        [("lan.macvtap.interface", "must be set when lan.enable is true: null", LINK)],
    ),
    (
        {"lan": {"macvtap": {"interface": "eth0", "name": "eth0"}}},
        [("lan.macvtap.name", 'is lan.macvtap.interface as well: "eth0"', "a name of its own")],
    ),
    (
        {"boot": {"http": {"root": None}}},
        [("boot.http.root", "must be set when boot.http.enable is true: null", "a directory")],
    ),
    (
        {"boot": {"http": {"port": 0}, "userNet": {"bootFile": "/x"}}},
        [
            (
                "boot.http.port",
                "not usable: 0",
                "1 to 65535; 0 takes a free port, which only a boot script written at run time can name",
            )
        ],
    ),
    (
        {"boot": {"http": {"bindIp": "127.0.0.2"}}},
        [
            (
                "boot.http.bindIp",
                'out of the guest\'s reach: "127.0.0.2"',
                "127.0.0.1, which the guest reaches as 10.0.2.2, or an address of this host",
            )
        ],
    ),
    (
        {"boot": {"userNet": {"dnsServers": []}}},
        [("boot.userNet.dnsServers", "must not be empty: []", "the IPv4 address of a DNS server")],
    ),
    (
        {"boot": {"chainTokenFile": "/run/token"}},
        [
            (
                "boot.chainTokenFile",
                'has no use: "/run/token"',
                "boot.chainUrl to be set, whose server asks for the token",
            )
        ],
    ),
    (
        {"boot": {"chainUrl": "http://a/x", "chainTokenFile": "/nix/store/x"}},
        [
            (
                "boot.chainTokenFile",
                'in the Nix store, which everyone can read: "/nix/store/x"',
                "a path outside of it",
            )
        ],
    ),
    (
        {"boot": {"chainUrl": "tftp://a/x", "chainTokenFile": "/run/token"}},
        [
            (
                "boot.chainUrl",
                'cannot carry the token of boot.chainTokenFile: "tftp://a/x"',
                "an http or https URL",
            )
        ],
    ),
    (
        {
            "boot": {
                "chainUrl": "http://a/x",
                "chainTokenFile": "/run/token",
                "userNet": {"bootFile": "/ipxe"},
            }
        },
        [
            (
                "boot.userNet.bootFile",
                'cannot carry a token: "/ipxe"',
                "null, because the boot file that carries boot.chainTokenFile is written at run time",
            )
        ],
    ),
]


@pytest.mark.parametrize(("change", "expected"), CONTRADICTIONS, ids=lambda part: str(part)[:60])
def test_what_a_contradiction_is_called(
    change: dict[str, Any], expected: list[tuple[str, str, str]], settings_of: Callable[..., GuestSettings]
) -> None:
    assert find_problems(settings_of, change) == expected


def test_a_path_below_one_that_is_wrong_is_not_wrong_too(settings_of: Callable[..., GuestSettings]) -> None:
    """NixOS writes what is made of ``stateDir`` into the file."""
    change = {
        "stateDir": "/a/../b",
        "disk": {"path": "/a/../b/disk.qcow2"},
        "boot": {"userNet": {"tftpDir": "/a/../b/c/tftp", "bootFile": "/a/../c"}},
    }
    named = [option for option, _, _ in find_problems(settings_of, change)]
    assert named == ["stateDir", "boot.userNet.bootFile"]
    assert find_problems(settings_of, {"stateDir": "s"}) == [("stateDir", 'not usable: "s"', PATH)]


def test_a_password_is_not_shown_because_a_token_is_there_too(
    settings_of: Callable[..., GuestSettings],
) -> None:
    boot = {"chainUrl": "ftp://u:pa55@a/x", "chainTokenFile": "/run/token"}
    found = find_problems(settings_of, {"boot": boot})
    assert [option for option, _, _ in found] == ["boot.chainUrl"]
    assert "pa55" not in str(found)


def test_the_boot_script_s_part_is_found_wrong_by_itself() -> None:
    raw = check_settings({"boot": {"userNet": {"dnsServers": []}}}, SCHEMA, where="test")["boot"]
    problems = Problems(GUEST_OPTIONS)
    # Of another part before it.
    problems.add("name", "", "not usable", "a name")
    assert build_boot_script_settings(raw, problems) is None
    assert len(problems.found) == 2
    raw["userNet"]["dnsServers"] = ["1.1.1.1"]
    assert build_boot_script_settings(raw, problems) is not None
    assert len(problems.found) == 2


PATHS = ["/a", "/a b,c", "/é\u2028", "/a/../b", "a", "/nix/store/x", "/a\nb", ""]
TEXTS: dict[str, list[Any]] = {
    "name": ["guest", "a,b\\", "", "a\nb"],
    "machine": ["q35", "q35,accel=kvm", "q35,", "accel=tcg"],
    "cpu": ["host", "max,-avx2", "host,+"],
    "serial": ["mon:stdio", "unix:/run/a,,b", ""],
    "stateDir": PATHS,
    "disk.path": PATHS,
    "disk.size": ["16G", "512", "511", "2048T", "2049T", "9" * 400, "é"],
    "boot.order": ["order=n", "once=d,order=nc,menu=on", "order=x", "nn"],
    "boot.chainUrl": ["http://a/x", "tftp://a/x", "https://[::1]:8443/a?b#c", "http://u:p@a/", "x", None],
    "boot.chainTokenFile": [*PATHS, None],
    "boot.http.bindIp": ["127.0.0.1", "0.0.0.0", "::", "::1", "192.0.2.7", "fe80::1%a", "x"],
    "boot.http.root": [*PATHS, None],
    "boot.userNet.bootFile": [*PATHS, None],
    "boot.userNet.tftpDir": PATHS,
    "boot.userNet.bootFilename": ["undionly.kpxe", "a" * 127, "a" * 128, "../a"],
    "boot.userNet.dnsServers": ["1.1.1.1", "10.0.2.3", "10.0.2.2", "::1", "x"],
    "boot.userNet.hostname": ["guest", "a" * 33, "-"],
    "boot.userNet.model": ["e1000", "virtio-net-pci,romfile=", "e1000,"],
    "lan.model": ["virtio-net-pci", ""],
    "lan.macvtap.interface": ["eth0", "ecqemu0", "a/b", None],
    "lan.macvtap.name": ["ecqemu0", "eth0", "a" * 16],
    "extraArgs": ["-s", "-S", "-sandbox", "-accel"],
}
DOCUMENTS = documents(SCHEMA, {"boot.http.root": "/srv"}, TEXTS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.sampled_from(Accelerator))
def test_a_document_that_the_schema_takes_is_built_and_used_or_said_to_be_wrong(
    document: dict[str, Any], accelerator: Accelerator
) -> None:
    raw = check_settings(document, SCHEMA, where="test")
    problems = Problems(GUEST_OPTIONS)
    settings = build_guest_settings(raw, problems)
    assert (settings is None) == bool(problems.found)
    options = {f"{GUEST_OPTIONS}.{name}" for name, _ in list_options(SCHEMA.document)}
    for problem in problems.found:
        assert problem.option.partition("[")[0] in options
        assert problem.expected
    of_script = Problems(GUEST_OPTIONS)
    script = build_boot_script_settings(raw["boot"], of_script)
    assert all(problem in problems.found for problem in of_script.found)
    assert (script is None) == bool(of_script.found)
    if settings is None or script is None:
        assert settings is None
        return
    boot = settings.boot
    assert (script.chain, script.listen, script.dns) == (boot.chain, boot.http.listen, boot.user_net.dns)
    build_boot_script(url=find_effective_url(boot.chain, boot.http.listen), dns=boot.user_net.dns)
    build_rules(find_openings(boot), uid=994)
    tap = None if settings.lan is None else Tap(fd=4, mac=settings.lan.macvtap.mac_address)
    argv = build_qemu_argv(settings, accelerator=accelerator, qmp_fd=3, tap=tap)
    assert f"accel={accelerator}" in argv[argv.index("-machine") + 1].split(",")
    assert argv.count("-netdev") == (1 if settings.lan is None else 2)


TFTP = "/var/lib/every-channel/ipxe-qemu/tftp"
IS_BOOT_FILE = "is the boot file in boot.userNet.tftpDir as well, which is written at every start"
IS_DIRECTORY = "is a directory of other options"


@pytest.mark.parametrize(
    ("change", "option", "message"),
    [
        ({"disk": {"path": f"{TFTP}/undionly.kpxe"}}, "disk.path", IS_BOOT_FILE),
        ({"disk": {"path": f"/{TFTP}/./undionly.kpxe"}}, "disk.path", IS_BOOT_FILE),
        (
            {"disk": {"path": f"{TFTP}/a"}, "boot": {"userNet": {"bootFilename": "a.lock"}}},
            "disk.path",
            IS_BOOT_FILE,
        ),
        ({"disk": {"path": f"{TFTP}/.undionly.kpxe.lock"}}, "disk.path", IS_BOOT_FILE),
        ({"disk": {"path": TFTP}}, "disk.path", IS_DIRECTORY),
        ({"disk": {"path": "/"}}, "disk.path", IS_DIRECTORY),
        ({"disk": {"path": "/srv/netboot"}}, "disk.path", IS_DIRECTORY),
        (
            {"boot": {"userNet": {"tftpDir": "/srv/netboot", "bootFilename": "netboot.ipxe"}}},
            "boot.userNet.bootFilename",
            "is a file of boot.http.root, and would be written over",
        ),
    ],
)
def test_no_file_is_written_over_by_another_option(
    change: dict[str, Any], option: str, message: str, settings_of: Callable[..., GuestSettings]
) -> None:
    ((found, said, _),) = find_problems(settings_of, change)
    assert (found, said.partition(":")[0]) == (option, message)


def test_files_may_lie_side_by_side(settings_of: Callable[..., GuestSettings]) -> None:
    settings_of({"disk": {"path": f"{TFTP}/disk"}, "boot": {"userNet": {"tftpDir": "/srv/netboot"}}})


def test_what_is_made_of_a_rejected_path_is_said_once(settings_of: Callable[..., GuestSettings]) -> None:
    change = {"stateDir": "a", "disk": {"path": "a/tftp/b"}, "boot": {"userNet": {"bootFilename": "b"}}}
    assert {found[0] for found in find_problems(settings_of, change)} == {"stateDir"}


@pytest.mark.parametrize("name", ["-machine", "--machine", "-M"])
def test_arguments_of_ones_own_bring_no_accelerator_back(
    name: str, settings_of: Callable[..., GuestSettings]
) -> None:
    (found,) = find_problems(settings_of, {"extraArgs": [name, "usb=on,accel=kvm"]})
    said = 'refused: "usb=on,accel=kvm"'
    assert found == ("extraArgs[1]", said, "no accel=: the accelerator is chosen by enableKvm")
    settings_of({"extraArgs": [name, "usb=on,graphics=accel,,accel=kvm", "-device", "accel=kvm"]})
