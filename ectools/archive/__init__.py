"""Archives: a compressed stream → its tar entries → plain files in a directory, within limits.

``decompress`` gzip, xz, Zstandard · ``blocks`` the stream, cut as tar wants it · ``tar`` its entries ·
``extract`` them into a directory · ``file_record`` what is known of each file · ``names`` that a file may
have · ``limits`` of all of it.
"""
