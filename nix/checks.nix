# The flake's checks for one system.
{
  pkgs,
  ectools,
  self,
  nixpkgs,
  ...
}:
let
  inherit (pkgs) lib;
  system = pkgs.stdenv.hostPlatform.system;
  check =
    name: script:
    pkgs.runCommand "every-channel-check-${name}" { nativeBuildInputs = [ ectools ]; } ''
      cd ${self}
      ${script}
      touch $out
    '';
in
{
  package = ectools;
  proposals = check "proposals" "ectools proposals lint";
  module-ec-ipxe-qemu = import ./tests/eval-ipxe-qemu.nix {
    inherit nixpkgs system;
    module = self.nixosModules.ec-ipxe-qemu;
  };
}
// lib.optionalAttrs (pkgs ? nixfmt) {
  formatting = pkgs.runCommand "every-channel-check-formatting" {
    nativeBuildInputs = [ pkgs.nixfmt ];
  } "find ${self} -name '*.nix' -exec nixfmt --check {} + && touch $out";
}
