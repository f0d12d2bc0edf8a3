# The flake's nixosModules. Each is an attribute set around a path: Nix 2.8 refuses a bare path here, and a path that
# is imported twice, with the flake and without it, is one module.
let
  modules = {
    ec-ipxe-qemu.imports = [ ./modules/ec-ipxe-qemu.nix ];
    ec-install.imports = [ ./modules/ec-install.nix ];
    ec-netboot.imports = [ ./modules/ec-netboot.nix ];
    ec-node.imports = [ ./modules/ec-node.nix ];
    ec-publisher-guest.imports = [ ./modules/ec-publisher-guest.nix ];
    ec-report.imports = [ ./modules/ec-report.nix ];
    ec-runner.imports = [ ./modules/ec-runner.nix ];
  };
in
modules // { default.imports = builtins.attrValues modules; }
