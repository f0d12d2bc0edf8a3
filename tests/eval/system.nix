# A NixOS system with all modules of this repository, for tests.
#
#   nixpkgs  path of a nixpkgs tree with a flake.nix, as a string
#   config   the system's configuration, as JSON text; { "package": NAME } stands for a package of that nixpkgs
#   modules  further modules
{
  nixpkgs,
  config,
  modules ? [ ],
}:
let
  flake = builtins.getFlake "path:${nixpkgs}";
  packages = flake.legacyPackages.x86_64-linux;

  resolve =
    value:
    if
      builtins.isAttrs value
      && builtins.attrNames value == [ "package" ]
      && builtins.isString value.package
    then
      packages.${value.package}
    else if builtins.isAttrs value then
      builtins.mapAttrs (_: resolve) value
    else
      value;

  system = flake.lib.nixosSystem {
    system = "x86_64-linux";
    modules = [
      (import ../../nix/nixos-modules.nix).default
      {
        system.stateVersion = "26.05";
        boot.loader.grub.enable = flake.lib.mkDefault false;
        # Less than a default: the publisher guest's profile has one of its own.
        fileSystems."/" = {
          device = flake.lib.mkOverride 1400 "/dev/disk/by-label/root";
          fsType = flake.lib.mkOverride 1400 "ext4";
        };
      }
      (resolve (builtins.fromJSON config))
    ]
    ++ modules;
  };
  stage1 = system.config.boot.initrd.systemd;
in
{
  inherit (system) config options pkgs;
  failed = map (a: a.message) (builtins.filter (a: !a.assertion) system.config.assertions);

  etc = builtins.mapAttrs (_: file: toString file.source) {
    inherit (system.config.environment.etc) "every-channel/configuration" "every-channel/flake";
  };
  users = builtins.attrNames system.config.users.users;
  profile = {
    etc = builtins.attrNames system.config.environment.etc;
    gc = { inherit (system.config.nix.gc) automatic dates options; };
    inherit (system.config.services.journald) storage;
    bootEntries = builtins.mapAttrs (_: loader: loader.configurationLimit) {
      inherit (system.config.boot.loader) generic-extlinux-compatible grub systemd-boot;
    };
    inherit (system.config.services.openssh) hostKeys;
    inherit (system.config.boot) kernelParams;
    root = system.config.fileSystems."/".fsType;
    inherit (system.config.networking) useDHCP;
    node = system.config.services.every-channel.node.enable;
  };
  flakeSource =
    packages.runCommand "flake-source" { }
      "ln -s ${system.config.environment.etc."every-channel/flake".source} $out";
  nodeUnit = system.config.systemd.units."every-channel-node.service".unit;
  fileSystemPrograms = map (package: package.pname or package.name) system.config.system.fsPackages;
  installUnit = system.config.systemd.units."every-channel-install.service".unit;
  followUnit = system.config.systemd.units."every-channel-follow.service".unit;
  diskBootUnit = system.config.systemd.units."every-channel-disk-boot.service".unit;
  diskUnits = flake.lib.filterAttrs (name: _: builtins.match "every-channel-(update|disk-boot).*" name != null) (
    builtins.mapAttrs (_: unit: unit.text) system.config.systemd.units
  );
  # Of each service with directories that systemd makes for it: whose they are, and which.
  ownDirectories =
    let
      list = value: flake.lib.concatMap (flake.lib.splitString " ") (flake.lib.toList value);
    in
    flake.lib.filterAttrs (_: found: found.directories != [ ]) (
      builtins.mapAttrs (_: service: {
        user = service.serviceConfig.User or "root";
        directories =
          map (name: "state:${name}") (list (service.serviceConfig.StateDirectory or [ ]))
          ++ map (name: "runtime:${name}") (list (service.serviceConfig.RuntimeDirectory or [ ]));
      }) (
        flake.lib.filterAttrs (name: _: flake.lib.hasPrefix "every-channel" name) system.config.systemd.services
      )
    );
  reportUnit = system.config.systemd.units."every-channel-report.service".unit;
  reportInitrd = {
    inherit (stage1.units."every-channel-report-running.service") text unit;
    modules = system.config.boot.initrd.availableKernelModules;
    services = builtins.attrNames stage1.services;
  };

  overlayRoot =
    if stage1.enable then
      {
        inherit (stage1.units."every-channel-overlay-root.service") text unit;
        inherit (stage1.services.every-channel-overlay-root) script;
        run = stage1.units."every-channel-overlay-root-run.service";
        realMount = system.config.systemd.units."run-every\\x2dchannel-root.mount".text;
      }
    else
      { script = system.config.boot.initrd.postMountCommands; };
}
