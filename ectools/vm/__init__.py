"""The guest runner: settings to argv, disk, macvtap, QMP, supervision."""
