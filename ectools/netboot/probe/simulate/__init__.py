"""What firmware and iPXE would do with what they are offered.

``choose``, ``choose_ipxe`` which offer they take · ``resolve`` where a host of that name is · ``fetcher``
whether a file is there · ``silence`` why a TFTP server says nothing · ``contents`` what it is ·
``requested_file`` what it is for · ``ipxe`` what a script would do · ``ipxe_nic`` over which NIC ·
``ipxe_trace`` what it did, and how it ended.
"""
