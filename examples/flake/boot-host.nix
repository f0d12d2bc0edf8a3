# Boots the machines of its network, beside a router that gives them their addresses, and one guest of its own.
{
  services.every-channel.netboot = {
    enable = true;
    listenIP = "192.0.2.10";
    interface = "enp3s0";
    hostname = "192.0.2.10";
    httpAllowedCIDRs = [ "192.0.2.0/24" ];
  };

  services.every-channel.ipxe-qemu = {
    enable = true;
    memoryMiB = 2048;
    # From the boot server above, like all others.
    boot.chainUrl = "http://192.0.2.10:8080/netboot.ipxe";
    boot.http.enable = false;
  };
}
