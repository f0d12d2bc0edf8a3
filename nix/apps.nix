# The flake's apps for one system.
{
  pkgs,
  ectools,
  nixpkgs,
  ...
}:
let
  inherit (pkgs) lib;

  # The guest is an x86-64 machine, whatever the host is.
  payload = nixpkgs.legacyPackages.x86_64-linux.callPackage ./demo-payload.nix { };
  demo = pkgs.writeShellApplication {
    name = "every-channel-demo";
    # qemu_kvm emulates its own platform only.
    runtimeInputs = [ (if pkgs.stdenv.hostPlatform.isx86_64 then pkgs.qemu_kvm else pkgs.qemu) ];
    text = ''exec ${lib.getExe ectools} demo --payload ${payload} "$@"'';
  };

  app = description: program: {
    type = "app";
    program = lib.getExe program;
    meta = { inherit description; };
  };
in
{
  ectools = app "The ectools command" ectools;
  default = app "The ectools command" ectools;
  demo = app "Boot a guest over iPXE from an embedded host description" demo;
}
