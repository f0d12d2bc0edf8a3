"""Each field wrong in turn: the option's name and what was expected, and everything wrong at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ectools.errors import ProblemsError
from ectools.vm.settings import GUEST_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings


def nest(option: str, value: Any) -> dict[str, Any]:
    """``nest("a.b", 1)``: ``{"a": {"b": 1}}``."""
    for key in reversed(option.split(".")):
        value = {key: value}
    return value  # type: ignore[no-any-return]  # a dict after the first turn; an option has at least one key


WRONG: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", "two\nlines"),
    ("machine", ""),
    ("machine", "q35,"),
    ("machine", "q35 ,accel=kvm"),
    ("cpu", ""),
    ("cpu", "host,+"),
    ("cpu", "max,model-id=a,,b"),
    ("serial", ""),
    ("serial", "unix:/a\nb"),
    ("vcpus", 4097),
    ("memoryMiB", 2**33),
    ("stateDir", "relative"),
    ("stateDir", "/var/lib/../guest"),
    ("disk.path", "disk.qcow2"),
    ("disk.path", "/a\nb"),
    ("disk.size", "16 GB"),
    ("disk.size", "0"),
    ("disk.size", "511"),
    ("disk.size", "9" * 400),
    ("disk.size", "4096T"),
    ("boot.order", "order=x"),
    ("boot.order", "order=nn"),
    ("boot.order", "order=abcd"),
    ("boot.order", "order=n,"),
    ("boot.order", "N"),
    ("boot.chainUrl", ""),
    ("boot.chainUrl", "boot.example.org/x"),
    ("boot.chainUrl", "http:///x"),
    ("boot.chainUrl", "ftp://example.org/x"),
    ("boot.chainUrl", "http://example.org/a b"),
    ("boot.chainUrl", "http://example.org/${net0/mac}"),
    ("boot.chainUrl", "http://example.org/x\nshell"),
    ("boot.chainUrl", "http://example.org/x\\"),
    ("boot.chainUrl", "http://example.org/%zz"),
    ("boot.chainUrl", "http://example.org:99999/x"),
    ("boot.chainUrl", "http://example.org:0/x"),
    ("boot.chainUrl", "http://[::1/x"),
    ("boot.chainUrl", "http://user:pa55@example.org/x"),
    ("boot.progressSeconds", 10**9),
    ("boot.http.bindIp", "localhost"),
    ("boot.http.bindIp", "127.0.0.2"),
    ("boot.http.bindIp", "::1"),
    ("boot.http.bindIp", "fe80::1%eth0"),
    ("boot.http.bindIp", "239.0.0.1"),
    ("boot.http.root", None),
    ("boot.http.root", "srv"),
    ("boot.userNet.hostname", ""),
    ("boot.userNet.hostname", "a" * 33),
    ("boot.userNet.hostname", "-a"),
    ("boot.userNet.hostname", "a,b"),
    ("boot.userNet.dnsServers", []),
    ("boot.userNet.dnsServers[0]", ["one.one.one.one"]),
    ("boot.userNet.dnsServers[0]", ["::1"]),
    ("boot.userNet.dnsServers[0]", ["10.0.2.2"]),
    ("boot.userNet.dnsServers[1]", ["1.1.1.1", "x"]),
    ("boot.userNet.tftpDir", "tftp"),
    ("boot.userNet.bootFilename", ""),
    ("boot.userNet.bootFilename", "a" * 128),
    ("boot.userNet.bootFilename", "../a"),
    ("boot.userNet.bootFilename", "a/b"),
    ("boot.userNet.bootFilename", "${net0/mac}"),
    ("boot.userNet.bootFilename", "http:evil"),
    ("boot.userNet.bootFile", "ipxe"),
    ("boot.userNet.model", ""),
    ("boot.userNet.model", "e1000,"),
    ("boot.userNet.model", '{"driver":"e1000"}'),
    ("lan.model", "virtio net"),
    ("lan.macvtap.interface", "eth0/1"),
    ("lan.macvtap.name", "a" * 16),
    ("lan.macvtap.name", ".."),
    ("lan.macvtap.macAddress", "01:00:00:00:00:00"),
    ("lan.macvtap.macAddress", "00:00:00:00:00:00"),
    ("shutdown.powerdownSeconds", 10**9),
    ("shutdown.quitSeconds", 10**9),
    ("shutdown.terminateSeconds", 10**9),
    ("extraArgs[0]", ["-daemonize"]),
    ("extraArgs[0]", ["--accel"]),
    ("extraArgs[0]", ["-preconfig"]),
    ("extraArgs[1]", ["-s", "-S"]),
]


@pytest.mark.parametrize(("option", "value"), WRONG, ids=lambda part: repr(part)[:40])
def test_a_wrong_value_is_named_with_what_was_expected(
    option: str, value: Any, settings_of: Callable[..., GuestSettings]
) -> None:
    field = option.rstrip("[]0123456789") if isinstance(value, list) else option
    with pytest.raises(ProblemsError) as caught:
        settings_of(nest(field, value))
    (problem,) = caught.value.problems
    assert problem.option == f"{GUEST_OPTIONS}.{option}"
    assert problem.expected
    assert "pa55" not in caught.value.render()


USABLE: list[dict[str, Any]] = [
    {"boot": {"http": {"enable": False, "root": None}}},
    {"boot": {"http": {"bindIp": "::", "port": 0}}},
    {"boot": {"http": {"bindIp": "127.0.0.2"}, "chainUrl": "https://[2001:db8::1]:8443/a?b=%20c&d#e"}},
    {"boot": {"chainUrl": "http://a/x", "chainTokenFile": "/run/token"}},
    {"boot": {"order": "once=d,order=nc,menu=on"}},
    {"boot": {"userNet": {"model": "virtio-net-pci,romfile=", "bootFilename": "a,b.kpxe"}}},
    {"machine": "accel=kvm", "cpu": "Skylake-Server-v4,+avx2,model-id=a b"},
    {"disk": {"path": "/var/lib/a b,c/d\\é.qcow2", "size": "1.5g"}},
    {"lan": {"enable": True, "macvtap": {"interface": "enp3s0.7", "macAddress": "02:EC:00:00:00:01"}}},
    {"serial": "unix:/run/guest.sock,server=on,wait=off", "extraArgs": ["-s", "--device", "usb-mouse"]},
]


@pytest.mark.parametrize("change", USABLE, ids=str)
def test_usable_values_are_not_refused(
    change: dict[str, Any], settings_of: Callable[..., GuestSettings]
) -> None:
    settings_of(change)
