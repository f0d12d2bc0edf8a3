# The boot host of the main job: the module as a user's host has it, in a container on the network of the tests.
{
  boot.isContainer = true;
  networking.hostName = "boot-host";
  nixpkgs.hostPlatform = "x86_64-linux";
  system.stateVersion = "26.05";

  # Whoever starts the container has set its network up.
  networking.useDHCP = false;
  networking.useHostResolvConf = false;

  services.every-channel.netboot = {
    enable = true;
    listenIP = "@ADDRESS@";
    hostname = "@ADDRESS@";
    interface = "@INTERFACE@";
    httpAllowedCIDRs = [ "@NETWORK@" ];
    ipxe = {
      strategy = "local";
      localFile = "/srv/ipxe-amd64.efi";
    };
    fleet.nodes.runner = {
      match.mac = [ "@MAC@" ];
      kernelArguments = builtins.fromJSON "@ARGUMENTS@";
    };
    release = {
      tarball = "/srv/@ARCHIVE@";
      requireSums = true;
      signature = {
        format = "openssh";
        publicKeyFile = "/srv/release-key.pub";
      };
    };
  };
}
