# A persistent QEMU guest that boots over iPXE, as a systemd service.
#
# The options become one JSON settings file. Building the system checks that file against
# schemas/ec-ipxe-qemu.schema.json; the runner that the unit starts reads it with the same schema.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.ipxe-qemu;
  path = "services.every-channel.ipxe-qemu";
  unit = "every-channel-ipxe-qemu";
  runner = lib.getExe' config.services.every-channel.toolsPackage unit;

  settings = (pkgs.formats.json { }).generate "${unit}-unchecked.json" (
    builtins.removeAttrs cfg [
      "enable"
      "restartIfChanged"
    ]
  );
  buildTools = import ./build-tools.nix { inherit config pkgs; };
  checkedSettings = pkgs.runCommand "${unit}.json" { } ''
    ${lib.getExe' buildTools.tools unit} --check --config ${settings}
    cp ${settings} $out
  '';

  directories = import ./ec-ipxe-qemu-directories.nix {
    inherit
      cfg
      lib
      path
      unit
      ;
  };

  systemd = import ./systemd.nix { inherit lib; };

  link = cfg.lan.macvtap.name;
  isFiltered = cfg.boot.userNet.hostLoopback == "boot-server";
in
{
  imports = [
    ./tools.nix
    ./ec-ipxe-qemu-lan-options.nix
    ./ec-ipxe-qemu-options.nix
  ];

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = cfg.boot.userNet.dnsServers != [ ];
        message = "${path}.boot.userNet.dnsServers must not be empty";
      }
      {
        assertion = cfg.lan.enable -> cfg.lan.macvtap.interface != null;
        message = "${path}.lan.macvtap.interface must be set when lan.enable is true";
      }
      {
        assertion = cfg.boot.http.enable -> cfg.boot.http.root != null;
        message = "${path}.boot.http.root must be set when boot.http.enable is true";
      }
      {
        assertion = isFiltered && cfg.boot.http.enable -> cfg.boot.http.port != 0;
        message = "${path}.boot.http.port must not be 0 unless boot.userNet.hostLoopback is \"all\"";
      }
      (systemd.refuseStorePath "${path}.boot.chainTokenFile" cfg.boot.chainTokenFile)
    ]
    ++ directories.assertions;

    # KVM runs guests of its host's own platform.
    services.every-channel.ipxe-qemu.enableKvm = lib.mkIf (!pkgs.stdenv.hostPlatform.isx86_64) (
      lib.mkDefault false
    );

    environment.systemPackages = [ config.services.every-channel.toolsPackage ];
    environment.etc."every-channel/ipxe-qemu.json".source = checkedSettings;

    users = (import ./units.nix { inherit lib; }).users "ipxe-qemu";

    boot.kernelModules = lib.mkIf cfg.lan.enable [ "macvtap" ];

    # The link has the guest's MAC, and its addresses are the guest's to ask for. Whoever manages this host's interfaces
    # takes on what comes up by itself, or what matches "e*".
    networking = lib.mkIf cfg.lan.enable {
      dhcpcd.denyInterfaces = [ link ];
      networkmanager.unmanaged = [ "interface-name:${link}" ];
    };
    systemd.network.networks."05-${unit}" = lib.mkIf cfg.lan.enable {
      matchConfig.Name = link;
      linkConfig.Unmanaged = true;
    };

    systemd.tmpfiles.settings."10-${unit}" = directories.rules;

    systemd.services = import ./ec-ipxe-qemu-service.nix {
      inherit
        cfg
        checkedSettings
        lib
        pkgs
        runner
        unit
        ;
      ectools = lib.getExe config.services.every-channel.toolsPackage;
      unitFiles = config.systemd.units;
    };
  };
}
