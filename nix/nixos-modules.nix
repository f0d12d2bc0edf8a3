# The flake's nixosModules: paths, so that a module imported twice is one module.
rec {
  ec-ipxe-qemu = ./modules/ec-ipxe-qemu.nix;

  default.imports = [ ec-ipxe-qemu ];
}
