"""Signed requests, against another program's signatures."""

from __future__ import annotations

import calendar
import hashlib
import time

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from ectools.fetch.sigv4 import CONTENT_SHA256, RequestSigner, S3Credentials

VISIBLE = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/")
WORD = st.text(VISIBLE, min_size=1, max_size=40)
PATH = st.lists(
    st.sampled_from(["boot", "a%2Bb", "x~y", "releases", "SHA256SUMS.txt", "v1.2_3-4"]), max_size=5
)
QUERY = st.lists(
    st.sampled_from(
        ["uploads", "uploadId=a%2Bb~c-1", "partNumber=10", "partNumber=9", "prefix=r%2Fx", "list-type=2"]
    ),
    max_size=3,
    unique=True,
)
HOSTS = st.sampled_from(["s3.example.org", "s3.example.org:9000", "[2001:db8::1]:9000"])


@given(
    method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    host=HOSTS,
    path=PATH,
    query=QUERY,
    key=WORD,
    secret=WORD,
    token=st.none() | WORD,
    region=st.sampled_from(["us-east-1", "garage"]),
    body=st.binary(max_size=20),
)
def test_the_same_as_botocore(
    method: str,
    host: str,
    path: list[str],
    query: list[str],
    key: str,
    secret: str,
    token: str | None,
    region: str,
    body: bytes,
) -> None:
    url = f"http://{host}/" + "/".join(path) + ("?" + "&".join(query) if query else "")
    request = AWSRequest(method=method, url=url, data=body)
    S3SigV4Auth(Credentials(key, secret, token), "s3", region).add_auth(request)
    theirs = dict(request.headers.items())
    at = calendar.timegm(time.strptime(theirs["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
    credentials = S3Credentials(access_key=key, secret_key=secret, token=token)
    signer = RequestSigner(credentials=credentials, region=region, clock=lambda: at)
    ours = signer(method, url, {CONTENT_SHA256: hashlib.sha256(body).hexdigest(), "If-None-Match": "*"})
    assert ours["Authorization"] == theirs["Authorization"]


def test_a_key_is_in_no_text() -> None:
    credentials = S3Credentials(access_key="AK", secret_key="hidden", token="hidden too")
    signer = RequestSigner(credentials=credentials, region="x")
    assert "hidden" not in repr(signer)
    sent = signer("GET", "http://x/", {})
    assert sent.pop("x-amz-security-token") == "hidden too"
    assert "hidden" not in str(sent)
