"""One service's files, for programs that are nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.service_programs import PROGRAMS

from ectools.service.files import ServiceFiles, build_files
from ectools.service.settings import ServiceName, load_service_settings

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., ServiceFiles]:
    """``build(NAME, **options)``: the files of a service."""

    def call(name: ServiceName, **options: Any) -> ServiceFiles:
        config = tmp_path / "settings.json"
        given: dict[str, Any] = {
            ServiceName.NETBOOT: {"listenIP": "192.0.2.10"},
            ServiceName.IPXE_QEMU: {"boot": {"http": {"root": "/srv/netboot"}}},
        }[name]
        config.write_text(json.dumps({**given, **options}))
        return build_files(load_service_settings(name, config), PROGRAMS)

    return call
