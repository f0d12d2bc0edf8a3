# The runner's drivers and firmware, without the hardware that it does not have.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  path = "services.every-channel.runner.hardware";
  cfg = config.services.every-channel.runner.hardware;
  enabled = config.services.every-channel.runner.enable && cfg.exclude != [ ];

  classes = import ./hardware-classes.nix;
  excluded = lib.attrValues (lib.getAttrs (lib.unique cfg.exclude) classes);
  remaining = lib.attrValues (builtins.removeAttrs classes cfg.exclude);
  words = lib.escapeShellArgs;
  modules = lib.concatMap (class: class.modules) excluded;

  # A file system's type is the name of its directory.
  lostTypes = map baseNameOf (lib.filter (lib.hasPrefix "fs/") modules);
  lost = lib.filterAttrs (_: fs: lib.elem fs.fsType lostTypes) config.fileSystems;

  inherit (config.boot.kernelPackages) kernel;
  # Since nixpkgs 2025-11 a kernel has an output for them.
  kernelModules = lib.getOutput "modules" kernel;
  keptModules = pkgs.runCommand "${kernel.name or "linux"}-modules-kept" {
    # `pkgs` of a module has the programs of the system, and not those of the machine that builds it.
    nativeBuildInputs = [
      pkgs.buildPackages.gawk
      pkgs.buildPackages.gnutar
      pkgs.buildPackages.kmod
    ];
  } "bash ${./keep-kernel-modules.sh} ${kernelModules} $out ${words modules}";

  keptFirmware = pkgs.runCommand "linux-firmware-kept" { } ''
    bash ${./keep-firmware.sh} ${pkgs.linux-firmware} $out ${
      words (lib.concatMap (class: class.firmware) excluded)
    }
  '';
in
{
  options.services.every-channel.runner.hardware.exclude = lib.mkOption {
    type = lib.types.listOf (lib.types.enum (lib.attrNames classes));
    default = [ ];
    example = [
      "audio"
      "bluetooth"
    ];
    description = ''
      Hardware that this system has no use for: its kernel modules and its firmware are not on the system. A module
      stays where one that is not left out needs it. Redistributable firmware of all other hardware is on the system
      then, and {option}`hardware.enableRedistributableFirmware`, which brings all of it, is off unless
      a host sets it.

      ${lib.concatStringsSep "\n" (
        lib.mapAttrsToList (name: class: "- `${name}`: ${class.description}") classes
      )}
    '';
  };

  config = lib.mkIf enabled {
    assertions = lib.mapAttrsToList (mountPoint: fs: {
      assertion = false;
      message = "${path}.exclude leaves ${fs.fsType} out, and fileSystems.\"${mountPoint}\" is one: take its class out of the list";
    }) lost;

    warnings =
      lib.optional config.hardware.enableRedistributableFirmware
        "${path}.exclude leaves firmware out, and hardware.enableRedistributableFirmware brings it back: switch one of them off";

    system.modulesTree = lib.mkForce ([ keptModules ] ++ config.boot.extraModulePackages);

    # Below what a host asks for, and above the default of a host that is given this option too.
    hardware.enableRedistributableFirmware = lib.mkOverride 900 false;
    hardware.firmware = [
      keptFirmware
    ]
    ++ lib.filter (package: package != null) (
      map (name: pkgs.${name} or null) (lib.concatMap (class: class.packages) remaining)
    );
  };
}
