"""The main job on an embedded default: from a host description to a guest that reports that it is up.

``payload`` what the guest boots · ``run`` one boot · ``stages`` of it, found in the log · ``draw`` them.
"""
