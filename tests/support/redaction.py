"""Texts with secrets, and what is left by ``ectools.redact`` and by the same rules in a node's shell.

Pairs of a text and what is shown of it. A shell goes by lines: those of more lines are for ``ectools`` alone.
"""

TOKENS = [
    ("", ""),
    ("/boot.ipxe", "/boot.ipxe"),
    ("/boot.ipxe?token=s3cret", "/boot.ipxe?token=***"),
    ("/boot.ipxe?a=b&token=s3cret&c=d", "/boot.ipxe?a=b&token=***&c=d"),
    ("token=s3cret#there", "token=***#there"),
    ("set u http://x/?token=one and token=two", "set u http://x/?token=*** and token=***"),
    ("TOKEN=s3cret Token=s3cret", "TOKEN=*** Token=***"),
    # Percent-encoded once, and again (RFC 3986, section 2.1).
    ("?token%3ds3cret", "?token%3d***"),
    ("?token%3Ds3cret", "?token%3D***"),
    ("?token%253ds3cret&x", "?token%253d***&x"),
    ("?token%25253Ds3cret", "?token%25253D***"),
    # Other names.
    ("mytoken=s my_token=s my-token=s 2token=s", "mytoken=s my_token=s my-token=s 2token=s"),
    ("tokens=s", "tokens=s"),
    ("token=", "token="),
    # What was taken out stays so.
    ("token=***", "token=***"),
    ("token=***: why, token=***&x", "token=***: why, token=***&x"),
    ("?token=*s3cret&c", "?token=***&c"),
    ("?token=s3*cr*et&c", "?token=***&c"),
    ("?token=***s3cret", "?token=***"),
    ("?token=s3cret\nnext", "?token=***\nnext"),
]

USERS = [
    ("http://user:password@forge.example/x", "http://***@forge.example/x"),
    ("http://a@b@forge.example/x", "http://***@forge.example/x"),
    ("http://forge.example/x", "http://forge.example/x"),
    ("me@forge.example", "me@forge.example"),
]
