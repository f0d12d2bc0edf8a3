"""The HTTP server of boot artifacts: one folder, read only, sent with sendfile on asyncio's default loop.

``settings`` what can be chosen · ``listen`` the socket · ``webroot`` a request path → an opened file ·
``conditional`` RFC 9110's conditions and ranges, pure · ``memory`` small files · ``answer`` a request → its
reply · ``replies`` how each kind is sent · ``pump`` files → sockets · ``connection`` limits and deadlines
of one client · ``access_log`` one line a request · ``server`` puts them together.
"""
