{
  description = "The network-boot layer of every.channel: NixOS modules, and the toolkit that keeps them authoritative";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEachSystem =
        build:
        nixpkgs.lib.genAttrs systems (
          system:
          let
            pkgs = nixpkgs.legacyPackages.${system};
          in
          build {
            inherit pkgs self nixpkgs;
            ectools = pkgs.callPackage ./nix/package.nix { };
          }
        );
    in
    {
      nixosModules = import ./nix/nixos-modules.nix;
      nixosConfigurations = import ./nix/hosts { inherit self nixpkgs; };

      packages = forEachSystem (import ./nix/packages.nix);
      apps = forEachSystem (import ./nix/apps.nix);
      checks = forEachSystem (import ./nix/checks.nix);
      devShells = forEachSystem (import ./nix/dev-shell.nix);
      formatter = forEachSystem ({ pkgs, ... }: pkgs.callPackage ./nix/format.nix { inherit pkgs; });

      templates = {
        default = {
          path = ./examples/flake;
          description = "Hosts of every.channel: a boot host with a guest, a runner, a publisher";
        };
        boot-host = {
          path = ./examples/boot-host;
          description = "A host that boots the machines of its network, and nothing else";
        };
        fleet = {
          path = ./examples/fleet-hosts;
          description = "A boot host and its machines: known by name, with a system for each group";
        };
      };

      overlays.default = final: prev: { ectools = final.callPackage ./nix/package.nix { }; };
      lib = import ./nix/lib { inherit (nixpkgs) lib; };
    };
}
