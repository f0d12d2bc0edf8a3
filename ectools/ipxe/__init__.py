"""iPXE as a language, for whoever writes, reads or interprets its scripts.

``language`` lines, commands, labels, URIs · ``urls`` that it can fetch · ``token`` secrets that it can send
· ``errors`` its error numbers · ``nics`` lines that go through a machine's NICs.
"""
