# A flake of your own with hosts of every.channel. To check it as it stands here, against this checkout:
#
#   cd examples/flake
#   nix flake check --no-build --no-write-lock-file --override-input every-channel ../..
#
# Where no nixpkgs can be downloaded, also: --override-input nixpkgs path:/a/nixpkgs
{
  description = "Hosts of mine that every.channel's modules make: a boot host, a runner, a publisher";

  inputs = {
    every-channel.url = "git+https://git.every.channel/every-channel/every.channel";
    nixpkgs.follows = "every-channel/nixpkgs";
  };

  outputs =
    {
      self,
      every-channel,
      nixpkgs,
    }:
    let
      build =
        name: modules:
        nixpkgs.lib.nixosSystem {
          modules = modules ++ [
            every-channel.nixosModules.default
            {
              nixpkgs.hostPlatform = "x86_64-linux";
              networking.hostName = name;
              system.stateVersion = "26.05";
              # What `ectools verify-closure` builds on the host itself.
              services.every-channel.runner = {
                flake = self;
                configuration = name;
              };
            }
          ];
        };

      # The disk of the runner images: systemd-boot, and two partitions by label. Yours may be what
      # nixos-generate-config has written.
      disk = "${every-channel}/nix/hosts/disk.nix";
    in
    {
      nixosConfigurations = builtins.mapAttrs build {
        boot-host = [
          ./boot-host.nix
          disk
        ];
        publisher = [ ./publisher.nix ];
        runner = [
          ./runner.nix
          disk
        ];
      };
    };
}
