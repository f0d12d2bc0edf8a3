# What things may be called, as a regular expression.
{
  # A group, a channel, a boot host: as ectools/netboot/fleet/build.py and depot/interface.py have it.
  name = "[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?";
}
