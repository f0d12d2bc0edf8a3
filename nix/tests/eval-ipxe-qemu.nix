# A host with the guest enabled, as a user writes it: its unit, with the settings file that the build checked.
{
  nixpkgs,
  system,
  module,
}:
(nixpkgs.lib.nixosSystem {
  inherit system;
  modules = [
    module
    {
      system.stateVersion = "26.05";
      services.every-channel.ipxe-qemu = {
        enable = true;
        boot.http.root = "/srv/netboot/current";
      };
    }
  ];
}).config.systemd.units."every-channel-ipxe-qemu.service".unit
