"""The HTTP server of boot artifacts: one folder, read only, sent with sendfile on asyncio's default loop.

``settings`` what can be chosen · ``listen`` the socket · ``webroot`` a request path → an opened file ·
``conditional`` RFC 9110's conditions and ranges, pure · ``pump`` files → sockets · ``connection`` limits and
deadlines per connection · ``access_log`` one line a request · ``server`` puts them together.
"""
