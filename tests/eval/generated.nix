# What the module of a host description sets, on a NixOS host, for tests.
#
#   nixpkgs  path of a nixpkgs tree with a flake.nix, as a string
#   modules  JSON text: an array of paths, each of a generated module
{ nixpkgs, modules }:
let
  flake = builtins.getFlake "path:${nixpkgs}";
  evaluate =
    module:
    let
      host = flake.lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          (import ../../nix/nixos-modules.nix).default
          { system.stateVersion = "26.05"; }
          (/. + module)
        ];
      };
      services = host.config.services.every-channel;
      found =
        service:
        let
          value = import ./plain.nix service;
          attempt = builtins.tryEval (builtins.deepSeq value value);
        in
        if attempt.success then attempt.value else null;
    in
    {
      # One that lacks an option without a default is null.
      options = builtins.mapAttrs (_: found) services;
      qemu = services.ipxe-qemu.package == host.pkgs.qemu_kvm;
      failed = builtins.filter (message: builtins.match "services\\.every-channel.*" message != null) (
        map (a: a.message) (builtins.filter (a: !a.assertion) host.config.assertions)
      );
    };
in
map evaluate (builtins.fromJSON modules)
