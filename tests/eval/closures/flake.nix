# Two systems that differ in one option, as far as a system is real where packages are placeholders: a unit with the
# script that it starts, and two files.
{
  outputs =
    { self, nixpkgs }:
    let
      pkgs = nixpkgs.legacyPackages.x86_64-linux;

      build =
        greeting:
        let
          inherit
            (nixpkgs.lib.nixosSystem {
              modules = [
                {
                  nixpkgs.hostPlatform = "x86_64-linux";
                  system.stateVersion = "26.05";
                  systemd.services.greeter.script = "echo ${greeting}";
                  fileSystems."/".device = "/dev/vda";
                }
              ];
            })
            config
            ;
        in
        {
          config.system.build.toplevel = pkgs.linkFarm "nixos-system-test-26.05" [
            {
              name = "fstab";
              path = config.environment.etc.fstab.source;
            }
            {
              name = "hosts";
              path = config.environment.etc.hosts.source;
            }
            {
              name = "unit";
              path = config.systemd.units."greeter.service".unit;
            }
          ];
        };
    in
    {
      nixosConfigurations.plain = build "hello";
      nixosConfigurations.loud = build "HELLO";
    };
}
