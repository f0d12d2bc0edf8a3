# What the modules share: the package whose programs their units start, and what must hold between them.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  path = "services.every-channel";
  services = config.services.every-channel;
  inherit
    (import ./directories.nix {
      inherit lib path;
      user = null;
    })
    isBelow
    ;

  # Not every system imports both.
  isEnabled = name: services.${name}.enable or false;
  inherit (services) ipxe-qemu netboot;
in
{
  options.services.every-channel.toolsPackage = lib.mkOption {
    type = lib.types.package;
    default = pkgs.callPackage ../package.nix { };
    defaultText = lib.literalExpression "pkgs.callPackage ./nix/package.nix { }";
    description = ''
      The `ectools` package: the programs that the every.channel units start, and the checker that their settings
      files pass when the system is built. (Where that is done on another platform, the checker is this project's own for the
      latter.)
    '';
  };

  config.assertions = [
    {
      assertion =
        isEnabled "ipxe-qemu" && isEnabled "netboot"
        -> !isBelow ipxe-qemu.stateDir netboot.stateDir && !isBelow netboot.stateDir ipxe-qemu.stateDir;
      message = "${path}.netboot.stateDir and ${path}.ipxe-qemu.stateDir must be apart, because each is given to another user";
    }
  ];
}
