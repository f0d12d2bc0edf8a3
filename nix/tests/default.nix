# The VM tests, by their names among the flake's checks.
#
#   extra  a module of the NixOS test framework that each test gets too
{
  pkgs,
  self,
  extra ? { },
}:
let
  inherit (self) nixosModules;
  demoPayload = pkgs.callPackage ../demo-payload.nix { };

  make =
    name: test:
    pkgs.lib.nameValuePair "vm-${name}" (
      pkgs.testers.runNixOSTest {
        imports = [
          test
          extra
          # The driver has a time limit of its own.
          ({ config, ... }: { globalTimeout = config.meta.timeout; })
        ];
      }
    );
in
pkgs.lib.mapAttrs' make {
  forge = import ./forge.nix {
    module = nixosModules.default;
    inherit demoPayload;
  };
  ipxe-qemu = import ./ipxe-qemu.nix {
    module = nixosModules.ec-ipxe-qemu;
    inherit demoPayload;
  };
  netboot = import ./netboot.nix {
    module = nixosModules.ec-netboot;
    inherit demoPayload;
  };
  node = import ./node.nix {
    module = nixosModules.ec-node;
    guest = nixosModules.ec-publisher-guest;
  };
  runner = import ./runner.nix { module = nixosModules.ec-runner; };
}
