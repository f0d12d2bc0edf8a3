# The machines' router goes on giving out the addresses, and this host says what to boot (ProxyDHCP).
{
  nixpkgs.hostPlatform = "x86_64-linux";
  networking.hostName = "boot-host";
  system.stateVersion = "26.05";

  networking.interfaces.enp3s0.ipv4.addresses = [
    {
      address = "192.0.2.10";
      prefixLength = 24;
    }
  ];
  networking.defaultGateway = "192.0.2.1";
  networking.nameservers = [ "192.0.2.1" ];

  services.every-channel.netboot = {
    enable = true;
    listenIP = "192.0.2.10";
    interface = "enp3s0";
    hostname = "192.0.2.10";
    httpAllowedCIDRs = [ "192.0.2.0/24" ];
    proxyDhcp = {
      enable = true;
      subnet = "192.0.2.0/24";
    };
    # Read anew at a switch. A path outside of the store, as text, can be changed without one:
    # `systemctl reload every-channel-netboot.service`.
    fleet.file = "${./fleet.toml}";
  };
}
