"""What can be seen and asked of a running boot server, over its socket and its status listener.

``page`` what people look at.
"""
