# The units of ec-netboot.nix: boot binaries and first script, staging, serving over HTTP, and dnsmasq for the rest.
{
  cfg,
  ectools,
  lib,
  pkgs,
  # How this host reaches the world (networking.proxy): units do not have it by themselves.
  proxyVariables,
  settings,
  systemctl,
  unit,
}:
let
  inherit (import ./systemd.nix { inherit lib; }) plain quoted;

  # The units read one file; each takes note of the changes of what it acts upon, and of no other.
  changesOf = names: [ (builtins.toJSON (lib.getAttrs names settings)) ];

  credential = name: file: lib.optional (file != null) "${name}:${plain file}";

  remote = cfg.ipxe.strategy == "remote";

  # What a running server cannot change. (What is in the unit itself needs no mention.)
  fixed = [
    "httpPort"
    "listenIP"
    "maxConnections"
    "stateDir"
  ];

  # Which of the stock binaries are beside the one that all machines get.
  bootBinaries = lib.unique (
    lib.filter (binary: binary != null) (
      lib.mapAttrsToList (_: group: group.bootBinary) settings.fleet.groups
    )
  );

  # What is staged besides: the channels that groups follow.
  groupChannels = lib.unique (
    lib.filter (channel: channel != null) (
      lib.mapAttrsToList (_: group: group.channel) settings.fleet.groups
    )
  );

  fixedOfFleet = [
    "hostName"
    "listen"
    "state"
    "stateBucket"
    "stateCaFile"
    "stateCredentialsFile"
  ];

  # dnsmasq's alone. What is in its unit itself needs no mention, and what it takes up by a reload comes with HTTP's.
  fixedOfDnsmasq = [ "tftp" ];

  # The listener for health and metrics: null, or an address (IPv6 in brackets), a colon and a port.
  status = cfg.fleet.listen;
  statusPort = lib.toIntBase10 (lib.last (lib.splitString ":" status));
  statusIsLocal = status == null || lib.hasPrefix "127." status || lib.hasPrefix "[::1]" status;

  # The hosts of fleet.state. One that has a name may have any address.
  stateHosts = map (
    server:
    lib.removeSuffix "]" (
      lib.removePrefix "[" (lib.head (lib.match "[a-z]+://(\\[[^]]+]|[^:]+)(:[0-9]+)?" server))
    )
  ) (lib.optionals (cfg.fleet.state != null) (lib.splitString "," cfg.fleet.state));
  stateIsKnown = lib.all (host: lib.match "[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*" host != null) stateHosts;

  # Who asks for health and metrics from elsewhere is in no option.
  isLimited = cfg.httpAllowedCIDRs != [ ] && statusIsLocal && stateIsKnown;

  # What ectools/service/netboot.toml asks for; ectools/service/facts.py has the same of other systems.
  facts = {
    inherit ectools systemctl;
    config = "/etc/every-channel/netboot.json";
    # Not every coreutils has one: a distribution has it from procps alone.
    kill = lib.getExe' pkgs.procps "kill";
    nft = lib.getExe' pkgs.nftables "nft";

    stateDir = plain cfg.stateDir;
    quotedStateDir = quoted cfg.stateDir;
    writableStateDir = quoted "-${cfg.stateDir}";
    writableFleetDir = quoted "-${cfg.stateDir}/fleet";
    chainToken = credential "chain-token" cfg.chainTokenFile;
    forgeToken = credential "forge-token" cfg.release.tokenFile;
    storeCredentials = credential "store-credentials" cfg.release.credentialsFile;
    accessToken = credential "access-token" cfg.fleet.accessTokenFile;
    stateCredentials = credential "state-credentials" cfg.fleet.stateCredentialsFile;

    inherit remote;
    proxyDhcp = cfg.proxyDhcp.enable;
    refreshing = cfg.release.refresh != null;
    inherit (cfg.release) refresh;
    inherit (cfg) httpPort;
    privilegedPort = cfg.httpPort < 1024 || status != null && statusPort < 1024;
    statusSocket = lib.optional (
      status != null
    ) "${if lib.hasPrefix "[" status then "ipv6" else "ipv4"}:tcp:${toString statusPort}";
    limitedToNetworks = isLimited;
    allowedAddresses = lib.optionals isLimited (
      lib.unique (
        cfg.httpAllowedCIDRs
        ++ cfg.trustedProxies
        ++ stateHosts
        ++ [
          "localhost"
          cfg.listenIP
        ]
      )
    );

    # A connection takes a socket and a file; its buffers in the kernel count too.
    httpFiles = 4 * lib.min cfg.maxConnections 250000 + 1024;
    httpMemory = 256 + lib.min cfg.maxConnections 250000;
    # A transfer takes a socket.
    tftpFiles = lib.min cfg.tftp.maxTransfers 250000 + 1024;
    tftpMemory = 256 + lib.min cfg.tftp.maxTransfers 250000 / 32;
  };

  # What NixOS alone has to know of them.
  further = {
    "${unit}-ipxe" = {
      restartTriggers = [
        (builtins.toJSON (
          lib.getAttrs [
            "chainTokenFile"
            "hostname"
            "httpPort"
            "ipxe"
            "mirrors"
            "protectedFiles"
            "proxyDhcp"
            "stateDir"
            "tftpBootFilename"
          ] settings
          // lib.optionalAttrs (bootBinaries != [ ]) { inherit bootBinaries; }
        ))
      ];
      environment = lib.optionalAttrs remote proxyVariables;
    };
    "${unit}-stage" = {
      # A switch would wait for its end (below). What it has not begun, it begins with the new settings.
      restartIfChanged = false;
      environment = proxyVariables;
    };
    ${unit} = {
      # It serves until the switch has done all else, and is then away for no longer than a restart takes.
      stopIfChanged = false;
      restartTriggers = [
        (builtins.toJSON (
          lib.getAttrs fixed settings // { fleet = lib.getAttrs fixedOfFleet settings.fleet; }
        ))
      ];
      # Downloads go on over a reload.
      reloadTriggers = [
        (builtins.toJSON (
          builtins.removeAttrs settings (fixed ++ fixedOfDnsmasq)
          # Which of several systems a machine gets, the boot script says.
          // {
            release = { inherit (settings.release) systems; };
            fleet = builtins.removeAttrs settings.fleet fixedOfFleet;
          }
        ))
      ];
    };
    "${unit}-dnsmasq" = {
      stopIfChanged = false;
      restartTriggers = changesOf fixedOfDnsmasq;
      path = [
        pkgs.dnsmasq
        pkgs.nftables
      ];
    };
  };
  units = import ./units.nix { inherit lib; };

  # A staging that is under way, or waits for its next attempt, begins anew where a switch has changed what it acts upon;
  # the switch waits for this alone. At boot there is none yet. (`ectools service` needs no unit for it.)
  again = {
    description = "every.channel network boot: staging begins anew with changed settings";
    documentation = [ "https://every.channel" ];
    wantedBy = [ "multi-user.target" ];
    before = [ "${unit}-stage.service" ];
    stopIfChanged = false;
    restartTriggers = [
      (builtins.toJSON (
        lib.getAttrs [
          "release"
          "stateDir"
        ] settings
        // lib.optionalAttrs (groupChannels != [ ]) { inherit groupChannels; }
      ))
    ];
    serviceConfig = {
      Type = "oneshot";
      RemainAfterExit = true;
      ExecStart = "${systemctl} --no-block try-restart ${unit}-stage.service";
    };
  };
in
{
  services = lib.recursiveUpdate (units.services "netboot" facts) further // {
    "${unit}-stage-again" = again;
  };
  timers = units.timers "netboot" facts;
}
