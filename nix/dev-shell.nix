# The flake's development shell for one system: what ./dev finds by apt elsewhere.
{ pkgs, ectools, ... }:
let
  formatter = pkgs.callPackage ./format.nix { inherit pkgs; };
in
{
  default = pkgs.mkShell {
    inputsFrom = [ ectools ];
    packages = with pkgs; [
      formatter
      busybox
      dnsmasq
      iproute2
      nginx
      python3
      qemu_kvm
    ];
  };
}
