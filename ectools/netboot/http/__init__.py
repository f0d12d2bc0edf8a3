"""The HTTP server of boot artifacts: one folder, read only, sent with sendfile on asyncio's default loop.

``settings`` what can be chosen · ``listen`` the socket · ``slots`` who has a connection's slot, pure ·
``admission`` who may come in · ``webroot`` a request path → an opened file · ``files`` opened off the loop ·
``cached`` what the kernel knows without waiting · ``memory`` small files · ``conditional`` RFC 9110's
conditions and ranges, pure · ``answer`` a request → its reply · ``replies`` how each kind is sent · ``scheduler``
files → sockets · ``connection`` limits and deadlines of one client · ``access_log`` one line a request ·
``self_check`` whether it answers itself · ``garbage`` collections that hold nobody up · ``server`` puts them
together.
"""
