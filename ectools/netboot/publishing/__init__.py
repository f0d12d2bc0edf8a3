"""Publishing: a release is put into a depot once, and channels are led to it.

``publication`` netboot outputs, or what was packed, as files to publish · ``packed`` whether that is one
release, which can be staged · ``provenance`` the statement of what was built from which source · ``rebuilt``
the statement of what was built again · ``promote`` a channel from one release to another · ``names`` which
are a tag's, and which a channel's.
"""
