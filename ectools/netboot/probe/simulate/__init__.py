"""What firmware and iPXE would do with what they are offered.

``choose``, ``choose_ipxe`` which offer they take · ``fetcher`` whether a file is there · ``resolve`` whose
name servers say where its host is · ``silence`` why a TFTP server says nothing · ``contents`` what
it is · ``requested_file`` what it is for · ``ipxe`` what a script would do · ``ipxe_trace`` what it did,
and how it ended.
"""
