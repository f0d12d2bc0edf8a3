"""The HTTP server of boot artifacts: one directory, read only, sent with sendfile(2) by asyncio.

``settings`` what can be chosen · ``listen`` the socket · ``slots`` who has a connection's slot, pure ·
``admission`` who may come in · ``webroot`` a request path → an opened file · ``files`` opened off the loop
· ``resolve_cached`` what the kernel knows without waiting · ``cache`` small files in memory ·
``conditional`` RFC 9110's conditions and ranges, pure · ``handler`` a request → its response ·
``responses`` how each kind is sent · ``sendfile`` files → sockets, in turn · ``send_buffer`` what a client
has yet to take · ``connection`` limits and deadlines of one client · ``access_log`` one line a request ·
``aiohttp_log`` no line for what any client could fill the log with · ``self_check`` whether it answers
itself · ``garbage`` collections that hold nobody up · ``descriptors`` how many files may be open ·
``server`` puts them together.
"""
