# The publisher guest. Its daemon comes with services.every-channel.node.package, from a flake that builds on this one.
{
  # Its host name is the DHCP server's to give.
  system.name = "ec-publisher";
  services.every-channel.publisher-guest.enable = true;
}
