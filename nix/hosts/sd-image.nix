# A system that boots from an SD card: system.build.sdImage.
{ modulesPath, ... }:
{
  imports = [
    "${modulesPath}/installer/sd-card/sd-image-aarch64.nix"
    ./image-name.nix
  ];

  # An installer's tools and file systems, with ZFS and a host ID that all machines would share.
  disabledModules = [ "profiles/base.nix" ];
}
