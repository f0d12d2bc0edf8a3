# Lines without what ectools/redact.py takes out of a text, by the same rules: GNU sed, -E, in the C locale. The cases of
# tests/support/redaction.py hold both.
s/\x01//g

# The value of `token=`; the equals sign may be percent-encoded, and that again. What is redacted already stays as it is.
:redacted
s/(^|[^A-Za-z0-9_-])(token(=|%(25)*3d))\*\*\*($|[^[:alnum:]_*\x80-\xff])/\1\2\x01\5/I
t redacted
s/(^|[^A-Za-z0-9_-])(token(=|%(25)*3d))[^&#[:space:]\x01][^&#[:space:]]*/\1\2***/Ig
s/\x01/***/g

# What stands before the `@` of a URL (RFC 3986, section 3.2.1).
s#//[^[:space:]]*@#//***@#g

# The token of a boot, of which each has its own.
s/([?&]boot=)[A-Za-z0-9_-]+/\1***/g
