# Staging and serving of network-boot artifacts, as systemd services.
#
# The options become one JSON settings file. Building the system checks that file against
# schemas/ec-netboot.schema.json; the programs that the units start read it with the same schema.
{
  config,
  lib,
  pkgs,
  ...
}:
{
  imports = [
    ./tools.nix
    ./ec-netboot-options.nix
  ];

  config = lib.mkIf config.services.every-channel.netboot.enable { };
}
