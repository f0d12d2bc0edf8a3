# All of NixOS, without a configuration.
{ }:
let
  offline = builtins.filter builtins.pathExists [ <nixpkgs/nixos-module.nix> ];
in
import <nixpkgs/nixos/lib/eval-config.nix> {
  lib = import <nixpkgs/lib>;
  system = null;
  modules = offline ++ [ { nixpkgs.hostPlatform = "x86_64-linux"; } ];
}
