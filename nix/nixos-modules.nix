# The flake's nixosModules. Each is an attribute set around a path: Nix 2.8 refuses a bare path here, and a path that
# is imported twice, with the flake and without it, is one module.
let
  modules = {
    ec-ipxe-qemu.imports = [ ./modules/ec-ipxe-qemu.nix ];
    ec-netboot.imports = [ ./modules/ec-netboot.nix ];
  };
in
modules // { default.imports = builtins.attrValues modules; }
