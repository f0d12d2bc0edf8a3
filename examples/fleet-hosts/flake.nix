# A boot host, and the machines that it boots: known by name in fleet.toml, with a system for each group.
#
#   ectools fleet check fleet.toml
#   nix build .#nixosConfigurations.runners.config.system.build.netboot
{
  description = "A boot host, and a fleet of machines by name";

  inputs = {
    every-channel.url = "git+https://git.every.channel/every-channel/every.channel";
    nixpkgs.follows = "every-channel/nixpkgs";
  };

  outputs =
    { every-channel, nixpkgs, ... }:
    let
      netboot = [
        every-channel.nixosModules.default
        "${every-channel}/nix/hosts/netboot.nix"
        ./machine.nix
      ];
    in
    {
      nixosConfigurations =
        every-channel.lib.fleet {
          inherit nixpkgs;
          file = ./fleet.toml;
          modules = {
            runners = netboot ++ [ { services.every-channel.runner.enable = true; } ];
            publishers = netboot ++ [ { services.every-channel.publisher-guest.enable = true; } ];
          };
        }
        // {
          boot-host = nixpkgs.lib.nixosSystem {
            modules = [
              every-channel.nixosModules.ec-netboot
              ./boot-host.nix
              "${every-channel}/nix/hosts/disk.nix"
            ];
          };
        };
    };
}
