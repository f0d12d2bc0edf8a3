# The flake's development shell for one system: what ./dev finds by apt elsewhere.
{ pkgs, ectools, ... }:
let
  inherit (pkgs) lib;
  formatter = pkgs.callPackage ./format.nix { inherit pkgs; };
in
{
  default = pkgs.mkShell {
    inputsFrom = [ ectools ];
    packages = [
      formatter
    ]
    # Also by itself, for ./dev lint.
    ++ lib.optional (pkgs ? nixfmt) pkgs.nixfmt
    ++ (with pkgs; [
      busybox
      chromium
      dnsmasq
      e2fsprogs
      git
      iproute2
      kmod
      man-db
      minisign
      nftables
      nats-server
      nginx
      nix
      openssh
      openssl
      python3
      qemu_kvm
      systemd
      util-linux
      xz
      zstd
    ]);
  };
}
