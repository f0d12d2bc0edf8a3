# Staging and serving of network-boot artifacts, as systemd services.
#
# The options become one JSON settings file. Building the system checks that file against
# schemas/ec-netboot.schema.json; the programs that the units start read it with the same schema.
{
  config,
  options,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.netboot;
  path = "services.every-channel.netboot";
  unit = "every-channel-netboot";
  ectools = lib.getExe config.services.every-channel.toolsPackage;
  buildTools = import ./build-tools.nix { inherit config pkgs; };
  inherit (builtins.fromJSON (builtins.readFile ../../ectools/netboot/protocols.json)) ports;

  # What the programs read: all options but those that only NixOS acts upon.
  settings =
    builtins.removeAttrs cfg [
      "enable"
      "openFirewall"
    ]
    // {
      release = builtins.removeAttrs cfg.release [ "refresh" ];
    };
  settingsFile = (pkgs.formats.json { }).generate "${unit}-unchecked.json" settings;
  checkedSettings = pkgs.runCommand "${unit}.json" { } ''
    ${lib.getExe buildTools.tools} netboot serve --check --config ${settingsFile}
    ${lib.optionalString (cfg.release.refresh != null) ''
      ${lib.getExe' buildTools.systemd "systemd-analyze"} calendar -- ${lib.escapeShellArg cfg.release.refresh} || {
        echo ${lib.escapeShellArg "${path}.release.refresh: not a calendar event (systemd.time(7))"} >&2
        exit 1
      }
    ''}
    cp ${settingsFile} $out
  '';

  tarballs = if cfg.release.tarball == null then [ ] else lib.toList cfg.release.tarball;
  inherit (import ./system-names.nix) mayBeArm64;
  lacksArm64 = tarballs != [ ] && !lib.any (file: mayBeArm64 (baseNameOf file)) tarballs;

  directories = import ./directories.nix {
    inherit lib path;
    user = unit;
  };

  # Both have 9090 as their default. What listens on all addresses leaves none of the port.
  inherit (config.services) prometheus;
  meetsPrometheus =
    prometheus.enable
    && lib.any (address: cfg.fleet.listen == "${address}:${toString prometheus.port}") (
      if
        lib.elem prometheus.listenAddress [
          ""
          "0.0.0.0"
          "[::]"
        ]
      then
        lib.optional (cfg.fleet.listen != null) (
          lib.concatStringsSep ":" (lib.init (lib.splitString ":" cfg.fleet.listen))
        )
      else
        [ prometheus.listenAddress ]
    );

  neighbours = "net.ipv4.neigh.default.gc_thresh3";
  keptNeighbours = "net.ipv4.neigh.default.gc_thresh2";
  # What the host has in the end, which another module may say: a gc_thresh2 above it would count for nothing. From the
  # definitions, because one value of boot.kernel.sysctl cannot be made of another's.
  mostNeighbours =
    let
      inherit (options.boot.kernel.sysctl) definitionsWithLocations;
      found = lib.mergeDefinitions [ neighbours ] lib.types.raw (
        lib.concatMap (
          definition:
          lib.optional (definition.value ? ${neighbours}) {
            inherit (definition) file;
            value = definition.value.${neighbours};
          }
        ) definitionsWithLocations
      );
    in
    if lib.isString found.mergedValue then lib.toIntBase10 found.mergedValue else found.mergedValue;

  # networking.fqdn throws where there is no domain.
  isElsewhere =
    name:
    name == options.services.every-channel.netboot.hostname.default
    && !lib.elem name [
      config.networking.hostName
      "${config.networking.hostName}.${toString config.networking.domain}"
    ];

  openPorts = {
    allowedTCPPorts = [ cfg.httpPort ];
    allowedUDPPorts = [
      ports.tftp
    ]
    ++ lib.optionals cfg.proxyDhcp.enable [
      ports.dhcp
      ports.pxe
    ];
  };
in
{
  imports = [
    ./tools.nix
    ./ec-netboot-options.nix
    ./ec-netboot-fleet-options.nix
    ./ec-netboot-state-options.nix
    ./ec-netboot-ipxe-options.nix
  ];

  config = lib.mkIf cfg.enable {
    assertions = import ./ec-netboot-assertions.nix {
      inherit
        cfg
        directories
        lib
        path
        ;
      options = options.services.every-channel.netboot;
      dnsmasqVersion = pkgs.dnsmasq.version;
    };

    # What can be known before the host runs; `ectools netboot serve --check` and `ectools doctor` look at it there.
    warnings =
      lib.optional (isElsewhere cfg.hostname) (
        "${path}.hostname is its default, ${cfg.hostname}, which is not this host: clients are sent there. "
        + "Set it to listenIP, or to a name that the clients' DNS server knows for it"
      )
      ++ lib.optional (cfg.ipxe.arm64File != null && lacksArm64) (
        "${path}.ipxe.arm64File lets machines in, and release.tarball has nothing for them: "
        + "they will be told so, and boot nothing"
      )
      ++ lib.optional meetsPrometheus (
        "${path}.fleet.listen is where services.prometheus listens, on ${prometheus.listenAddress}: one of the two cannot. "
        + "Set services.prometheus.port, or ${path}.fleet.listen, to another port"
      );

    environment.systemPackages = [ config.services.every-channel.toolsPackage ];
    environment.etc."every-channel/netboot.json".source = checkedSettings;

    users = (import ./units.nix { inherit lib; }).users "netboot";

    systemd.tmpfiles.settings."10-${unit}" = directories.rules [
      (directories.ownTree cfg.stateDir)
      (directories.ownDirectory "${cfg.stateDir}/tftp")
      (directories.ownDirectory "${cfg.stateDir}/fleet")
    ];

    # What Linux has by itself is too little for a crowd; any other value is meant. As list_kernel_settings of
    # ectools/netboot/settings/kernel_settings.py has it.
    boot.kernel.sysctl =
      lib.optionalAttrs (cfg.tftp.receiveBuffer != null) {
        "net.core.rmem_default" = lib.mkDefault cfg.tftp.receiveBuffer;
      }
      // lib.optionalAttrs (cfg.maxNeighbours != null) {
        ${keptNeighbours} = lib.mkDefault (if mostNeighbours == null then null else mostNeighbours / 2);
        ${neighbours} = lib.mkDefault cfg.maxNeighbours;
      };

    networking.firewall = lib.mkIf cfg.openFirewall (
      if cfg.interface == null then openPorts else { interfaces.${cfg.interface} = openPorts; }
    );

    systemd = {
      inherit
        (import ./ec-netboot-services.nix {
          inherit
            cfg
            ectools
            lib
            pkgs
            settings
            unit
            ;
          proxyVariables = config.networking.proxy.envVars;
          systemctl = lib.getExe' config.systemd.package "systemctl";
        })
        services
        timers
        ;
    };
  };
}
