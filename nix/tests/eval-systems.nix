# Checks that evaluate: each host with what is built of it, and hosts with one module enabled, as a user writes them.
{
  pkgs,
  self,
  nixpkgs,
}:
let
  inherit (pkgs) lib;
  inherit (pkgs.stdenv.hostPlatform) system;

  # What each host is there for.
  artifact =
    name: host:
    let
      inherit (host.config.system) build;
    in
    if lib.hasSuffix "-netboot" name then
      build.netboot
    else if lib.hasSuffix "-iso" name then
      build.isoImage
    else if lib.hasSuffix "-sdimage" name then
      build.sdImage
    else
      build.toplevel;

  # Evaluated to its derivation, warnings and all, and not built: that takes hours and gigabytes.
  evaluated =
    name: host:
    assert lib.assertMsg (
      host.config.warnings == [ ]
    ) "${name}: ${lib.concatStringsSep "\n" host.config.warnings}";
    pkgs.writeText "every-channel-check-${name}" (
      builtins.unsafeDiscardStringContext (artifact name host).drvPath
    );

  build =
    module: configuration:
    (nixpkgs.lib.nixosSystem {
      modules = [
        module
        {
          nixpkgs.hostPlatform = system;
          system.stateVersion = "26.05";
        }
        configuration
      ];
    }).config;

  overlayRoot =
    stage1:
    build self.nixosModules.ec-runner {
      boot.initrd.systemd.enable = stage1 == "systemd";
      fileSystems."/" = {
        device = "/dev/disk/by-label/root";
        fsType = "ext4";
      };
      services.every-channel.runner = {
        enable = true;
        overlayRoot.enable = true;
      };
    };
in
lib.mapAttrs' (name: host: lib.nameValuePair "host-${name}" (evaluated name host)) (
  lib.filterAttrs (
    _: host: host.config.nixpkgs.hostPlatform.system == system
  ) self.nixosConfigurations
)
// {
  module-ec-install =
    (build self.nixosModules.ec-install {
      services.every-channel.install.enable = true;
    }).systemd.units."every-channel-install.service".unit;

  module-ec-ipxe-qemu =
    (build self.nixosModules.ec-ipxe-qemu {
      services.every-channel.ipxe-qemu = {
        enable = true;
        boot.http.root = "/srv/netboot/current";
      };
    }).systemd.units."every-channel-ipxe-qemu.service".unit;

  module-ec-netboot =
    let
      inherit
        (build self.nixosModules.ec-netboot {
          services.every-channel.netboot = {
            enable = true;
            listenIP = "192.0.2.10";
          };
        })
        systemd
        ;
    in
    pkgs.linkFarm "every-channel-check-netboot" (
      map
        (name: {
          inherit name;
          path = systemd.units.${name}.unit;
        })
        [
          "every-channel-netboot-ipxe.service"
          "every-channel-netboot-stage.service"
          "every-channel-netboot.service"
        ]
    );

  module-ec-node =
    (build self.nixosModules.ec-node {
      services.every-channel.node = {
        enable = true;
        package = pkgs.hello;
        settings.log.level = "info";
        credentials.publish-key = "/run/secrets/publish-key";
      };
    }).systemd.units."every-channel-node.service".unit;

  module-ec-publisher-guest = pkgs.writeText "every-channel-check-publisher-guest" (
    builtins.toJSON
      (build self.nixosModules.ec-publisher-guest {
        services.every-channel.publisher-guest.enable = true;
      }).boot.kernelParams
  );

  module-ec-report =
    let
      host = build self.nixosModules.ec-report {
        services.every-channel.report = {
          enable = true;
          initrd.enable = true;
        };
        boot.initrd.systemd.enable = true;
      };
    in
    pkgs.linkFarm "every-channel-check-report" [
      {
        name = "stage-1";
        path = host.boot.initrd.systemd.units."every-channel-report-running.service".unit;
      }
      {
        name = "stage-2";
        path = host.systemd.units."every-channel-report.service".unit;
      }
    ];

  module-ec-runner = pkgs.linkFarm "every-channel-check-runner" [
    {
      name = "scripted";
      path = pkgs.writeText "post-mount-commands" (overlayRoot "scripted").boot.initrd.postMountCommands;
    }
    {
      name = "systemd";
      path = (overlayRoot "systemd").boot.initrd.systemd.units."every-channel-overlay-root.service".unit;
    }
  ];
}
