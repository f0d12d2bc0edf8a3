# The flake's nixosConfigurations: what each is made of.
{ self, nixpkgs }:
let
  inherit (nixpkgs.lib) mapAttrs;

  build =
    platform: name: modules:
    nixpkgs.lib.nixosSystem {
      modules = [
        self.nixosModules.default
        ./common.nix
        {
          nixpkgs.hostPlatform = platform;
          services.every-channel.runner.configuration = name;
        }
      ]
      ++ modules;
    };

  runners = architecture: {
    "ec-runner-${architecture}" = [
      ./runner.nix
      ./disk.nix
      { services.every-channel.runner.overlayRoot.enable = true; }
    ];
    "ec-runner-${architecture}-netboot" = [
      ./runner.nix
      ./netboot.nix
      ./lean.nix
    ];
    "ec-runner-${architecture}-iso" = [
      ./runner.nix
      ./iso.nix
    ];
  };

  x86_64 = runners "x86_64" // {
    ec-publisher-x86_64 = [ ./publisher.nix ];
    ec-publisher-x86_64-netboot = [
      ./publisher.nix
      ./netboot.nix
    ];
    ecp-forge = [
      ./forge.nix
      ./disk.nix
      {
        services.every-channel.ipxe-qemu.boot.http.root =
          "${self.nixosConfigurations.ec-publisher-x86_64-netboot.config.system.build.netboot}";
      }
    ];
  };

  aarch64 = runners "aarch64" // {
    ec-runner-aarch64-sdimage = [
      ./runner.nix
      ./sd-image.nix
    ];
  };
in
mapAttrs (build "x86_64-linux") x86_64 // mapAttrs (build "aarch64-linux") aarch64
