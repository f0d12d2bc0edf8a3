"""JSON → settings: no exception, whatever the JSON is."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.built_settings import HERE, SCHEMA
from support.settings_documents import documents, list_options

from ectools.netboot.boot_files.layout import build_filenames
from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.dnsmasq.model import build_boot_services
from ectools.netboot.dnsmasq.render import render_configuration
from ectools.netboot.settings.build import build_netboot_settings, build_server_settings
from ectools.netboot.settings.model import (
    NETBOOT_OPTIONS,
)
from ectools.parsing import Problems
from ectools.schemas import check_settings

URLS = [
    *("http://a", "https://b/c/", "tftp://a/b", "http://a/?b", "http://u:p@a/", "ftp://a", "HTTP://A/"),
    *("http://[2001:db8::1]:8080/x", "http://a:0/", "http://" + "a" * 500, ""),
]
PATHS = ["/a", "/a b,c", "/é\u2028", "/a/../b", "a", "/nix/store/x", "/a\nb"]
TEXTS: dict[str, list[Any]] = {
    "listenIP": ["192.0.2.10", "127.0.0.1", "0.0.0.0", "255.255.255.255", "300.1.1.1"],
    "hostname": ["192.0.2.10", "boot.example.org", "a" * 63, "10.1", "a b", ""],
    "interface": ["eth0", "a b", None],
    "stateDir": PATHS,
    "chainTokenFile": [*PATHS, None],
    "mirrors": URLS,
    "httpAllowedCIDRs": ["192.0.2.0/24", "::/0", "192.0.2.1/24", "1"],
    "trustedProxies": ["192.0.2.7", "fe80::1/10"],
    "tftpBootFilename": ["a.efi", "ec-ipxe-arm64.efi", "a." + "b" * 125, "a." + "b" * 126],
    "proxyDhcp.subnet": ["192.0.2.0/24", "0.0.0.0/0", "192.0.2.1/24", "999.0.0.0/8", None],
    "release.tag": ["v1", "../a", None],
    "release.tarball": [*PATHS, None],
    "release.tokenFile": [*PATHS, None],
    "release.artifact": ["*", "a/b"],
    "release.refresh": ["hourly", None],
    "release.signature.publicKeyFile": ["/k", "k", None],
    "ipxe.embeddedFile": ["/e", "e", None],
    "ipxe.remoteUrl": [*URLS, None],
    "fleet.listen": ["127.0.0.1:9090", "[::1]:1", "[127.0.0.1]:1", "127.0.0.1:99999", "1.1:1", None],
    "fleet.accessTokenFile": [*PATHS, None],
    "fleet.state": ["nats://a", "tls://[::1]:4222,nats://192.0.2.5", "nats://a:99999", "nats://[::::]", None],
    "fleet.stateCaFile": [*(each for each in PATHS if each != "a"), None],
    "fleet.stateCredentialsFile": [*PATHS, None],
}


DOCUMENTS = documents(SCHEMA, HERE, TEXTS)


@example({**HERE, "mirrors": ["tftp://a/b"]}, None)
@example({**HERE, "release": {"host": "http://0["}}, None)
@example({**HERE, "fleet": {"state": "nats://[::::]"}}, None)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.none() | st.just("t0k/en"))
def test_a_document_that_the_schema_takes_is_built_and_used_or_said_to_be_wrong(
    document: dict[str, Any], token: str | None
) -> None:
    raw = check_settings(document, SCHEMA, where="test")
    problems = Problems(NETBOOT_OPTIONS)
    settings = build_server_settings(raw, problems)
    assert (settings is None) == bool(problems.found)
    # What does not serve finds the same.
    other = Problems(NETBOOT_OPTIONS)
    assert (build_netboot_settings(raw, other) is None) == (settings is None)
    assert other.found == problems.found
    options = {f"{NETBOOT_OPTIONS}.{name}" for name, _ in list_options(SCHEMA.document)}
    for problem in problems.found:
        # Or below one: an item of a list, or what has a name of the user's.
        above = (name for name in options if problem.option.startswith((f"{name}[", f"{name}.")))
        assert problem.option in options or next(above, None) is not None, problem.option
        assert problem.expected
    if settings is None:
        return
    assert build_autoexec(settings, token).isascii()
    names = frozenset(build_filenames(settings).values())
    render_configuration(build_boot_services(settings, present=names))
