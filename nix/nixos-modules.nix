# The flake's nixosModules. Each is an attribute set around a path: Nix 2.8 refuses a bare path here, and a path that
# is imported twice, as a module of the flake and as a file of the same source, is one module.
#
# Two copies of the source, as two flake inputs that bring this project each, are two modules of the same options, and NixOS
# says "already declared", with both files: `inputs.X.inputs.every-channel.follows` makes them one. A `key` would make them
# one too, but of two versions it would silently take whichever comes first, with half of what the other's users set.
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
