# What all machines of the fleet have in common.
{
  system.stateVersion = "26.05";
  networking.useDHCP = true;
  # One system boots them all: who is who, DHCP says.
  networking.hostName = "";
}
