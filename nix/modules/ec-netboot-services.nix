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
  # dnsmasq's own user, who is of the unit's group.
  dnsmasqUser,
}:
let
  inherit (import ./systemd.nix { inherit lib; }) plain quoted sandbox;

  documentation = [ "https://every.channel" ];
  online = [ "network-online.target" ];
  command = verb: "${ectools} netboot ${verb} --config /etc/every-channel/netboot.json";

  # The units read one file; each takes note of the changes of what it acts upon, and of no other.
  changesOf = names: [ (builtins.toJSON (lib.getAttrs names settings)) ];

  credential = name: file: lib.optional (file != null) "${name}:${plain file}";

  # Each unit's memory in MiB, and its processes and threads: several times of what they take at their work.
  bounds = memory: tasks: {
    MemoryMax = "${toString memory}M";
    TasksMax = tasks;
  };

  common = sandbox // {
    User = unit;
    Group = unit;
    PrivateMounts = true;
    WorkingDirectory = plain cfg.stateDir;
  };
  writing = common // {
    Type = "oneshot";
    PrivateDevices = true;
    PrivateUsers = true;
    SocketBindDeny = "any";
    # "-": a directory that is missing is the program's to report, in words.
    ReadWritePaths = [ (quoted "-${cfg.stateDir}") ];
  };
  # Growing pauses, up to a bound (systemd before 254 keeps to the first).
  retrying = {
    Restart = "on-failure";
    RestartSec = 15;
    RestartSteps = 6;
    RestartMaxDelaySec = 600;
  };

  remote = cfg.ipxe.strategy == "remote";

  # What a running server cannot change. (What is in the unit itself needs no mention.)
  fixed = [
    "fleet"
    "httpPort"
    "listenIP"
    "maxConnections"
    "stateDir"
  ];

  # dnsmasq's alone. What is in its unit itself needs no mention, and what it takes up by a reload comes with HTTP's.
  fixedOfDnsmasq = [ "tftp" ];

  serving = common // {
    Type = "notify";
    NotifyAccess = "main";
    ExecReload = "${lib.getExe' pkgs.coreutils "kill"} -HUP $MAINPID";
    Restart = "always";
    RestartSec = 5;
    TimeoutStartSec = 120;
    WatchdogSec = 60;
    KillMode = "mixed";
    PrivateDevices = true;
  };
  dnsmasqReports = "/run/${unit}/dnsmasq";

  # The listener for health and metrics: null, or an address (IPv6 in brackets), a colon and a port.
  status = cfg.fleet.listen;
  statusPort = lib.toIntBase10 (lib.last (lib.splitString ":" status));
  statusIsLocal = status == null || lib.hasPrefix "127." status || lib.hasPrefix "[::1]" status;

  privilegedPort = cfg.httpPort < 1024 || status != null && statusPort < 1024;
  httpCapabilities = lib.optional privilegedPort "CAP_NET_BIND_SERVICE";

  # TFTP's port; NET_ADMIN, without which dnsmasq is no DHCP server, reaches clients that have no address yet.
  dnsmasqCapabilities = [
    "CAP_NET_BIND_SERVICE"
  ]
  ++ lib.optional cfg.proxyDhcp.enable "CAP_NET_ADMIN";
  # The name is the program's (ectools/netboot/dnsmasq/transfer_limit.py).
  tftpTable = "ip every_channel_tftp";
in
{
  "${unit}-ipxe" = {
    description = "every.channel network boot: boot binaries and first script";
    inherit documentation;
    after = [ "local-fs.target" ] ++ lib.optionals remote online;
    wants = lib.optionals remote online;
    wantedBy = [ "multi-user.target" ];
    unitConfig.RequiresMountsFor = [ (quoted cfg.stateDir) ];
    restartTriggers = changesOf [
      "chainTokenFile"
      "hostname"
      "httpPort"
      "ipxe"
      "mirrors"
      "protectedFiles"
      "stateDir"
      "tftpBootFilename"
    ];
    environment = lib.optionalAttrs remote proxyVariables;
    serviceConfig =
      writing
      // lib.optionalAttrs remote retrying
      // {
        RemainAfterExit = true;
        ExecStart = command "ipxe";
        # What TFTP offers depends on the binaries that are there. "+": the service's user may not speak to the manager.
        ExecStartPost = "-+${systemctl} --no-block try-reload-or-restart ${unit}.service";
        LoadCredential = credential "chain-token" cfg.chainTokenFile;
        TimeoutStartSec = 300;
      }
      // bounds 256 64
      // lib.optionalAttrs (!remote) {
        IPAddressDeny = "any";
        PrivateNetwork = true;
        RestrictAddressFamilies = [ "AF_UNIX" ];
      };
  };

  # Nothing waits for it: a release that is there is served while the forge cannot be reached, and while the next one
  # downloads.
  "${unit}-stage" = {
    description = "every.channel network boot: staging of the release";
    inherit documentation;
    after = [
      "local-fs.target"
      "${unit}.service"
    ]
    ++ online;
    wants = online;
    wantedBy = [ "multi-user.target" ];
    unitConfig.RequiresMountsFor = [ (quoted cfg.stateDir) ];
    restartTriggers = changesOf [
      "release"
      "stateDir"
    ];
    environment = proxyVariables;
    serviceConfig =
      writing
      // retrying
      // {
        ExecStart = command "stage";
        # A forge that drips must not keep the next attempt away for ever.
        TimeoutStartSec = "12h";
        LoadCredential = credential "forge-token" cfg.release.tokenFile;
      }
      // bounds 512 64;
  };

  # The boot server for people: to start, stop, restart or reload it takes dnsmasq's unit along.
  ${unit} = {
    description = "every.channel network boot: HTTP";
    inherit documentation;
    after = [
      "local-fs.target"
      "${unit}-ipxe.service"
    ]
    ++ online;
    wants = [
      "${unit}-dnsmasq.service"
      "${unit}-ipxe.service"
    ]
    ++ online;
    wantedBy = [ "multi-user.target" ];
    unitConfig = {
      PropagatesReloadTo = [ "${unit}-dnsmasq.service" ];
      StartLimitIntervalSec = 0;
      RequiresMountsFor = [ (quoted cfg.stateDir) ];
    };
    restartTriggers = changesOf fixed;
    # Downloads go on over a reload.
    reloadTriggers = changesOf (
      builtins.attrNames (builtins.removeAttrs settings ([ "release" ] ++ fixed ++ fixedOfDnsmasq))
    );
    serviceConfig =
      serving
      // {
        ExecStart = "${command "serve"} --dnsmasq-reports ${dnsmasqReports}";
        LoadCredential = credential "chain-token" cfg.chainTokenFile;
        RuntimeDirectory = unit;
        RuntimeDirectoryMode = "0750";

        # Downloads in flight have 30 s to end.
        TimeoutStopSec = 60;
        # A connection takes a socket and a file.
        LimitNOFILE = 4 * lib.min cfg.maxConnections 250000 + 1024;

        AmbientCapabilities = httpCapabilities;
        CapabilityBoundingSet = if privilegedPort then httpCapabilities else "";
        # A capability in a user namespace of its own is none for the host's ports.
        PrivateUsers = !privilegedPort;
        SocketBindDeny = "any";
        SocketBindAllow = [
          "ipv4:tcp:${toString cfg.httpPort}"
        ]
        ++ lib.optional (
          status != null
        ) "${if lib.hasPrefix "[" status then "ipv6" else "ipv4"}:tcp:${toString statusPort}";
      }
      # A connection's buffers in the kernel count too.
      // bounds (256 + lib.min cfg.maxConnections 250000) 128
      # Who asks for health and metrics from elsewhere is in no option.
      // lib.optionalAttrs (cfg.httpAllowedCIDRs != [ ] && statusIsLocal) {
        IPAddressDeny = "any";
        IPAddressAllow = lib.unique (
          cfg.httpAllowedCIDRs
          ++ cfg.trustedProxies
          ++ [
            "localhost"
            cfg.listenIP
          ]
        );
      };
  };

  "${unit}-dnsmasq" = {
    description = "every.channel network boot: TFTP${lib.optionalString cfg.proxyDhcp.enable ", ProxyDHCP"}";
    inherit documentation;
    after = [
      "local-fs.target"
      "${unit}-ipxe.service"
      "${unit}.service"
    ]
    ++ online;
    wants = online;
    # Who gets the first script comes for the next one over HTTP.
    partOf = [ "${unit}.service" ];
    unitConfig = {
      RequiresMountsFor = [ (quoted cfg.stateDir) ];
      # It is started again by itself and with the boot server: as often as both, and never given up.
      StartLimitIntervalSec = 0;
    };
    restartTriggers = changesOf fixedOfDnsmasq;
    path = [
      pkgs.dnsmasq
      pkgs.nftables
    ];
    serviceConfig =
      serving
      // {
        User = dnsmasqUser;
        # "+": a table of nftables is root's. TFTP is served without it too.
        ExecStartPre = "-+${command "dnsmasq"} --load-limit ${dnsmasqUser}";
        ExecStart = "${command "dnsmasq"} --reports ${dnsmasqReports}";
        ExecStopPost = ''-+${lib.getExe' pkgs.nftables "nft"} "table ${tftpTable}; delete table ${tftpTable}"'';

        TimeoutStopSec = 30;
        # A transfer takes a socket.
        LimitNOFILE = lib.min cfg.tftp.maxTransfers 250000 + 1024;

        AmbientCapabilities = dnsmasqCapabilities;
        CapabilityBoundingSet = dnsmasqCapabilities;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_UNIX"
          # How dnsmasq learns of interfaces and addresses.
          "AF_NETLINK"
        ];
        # Each transfer has a port that the kernel chooses.
        SocketBindDeny = "any";
        SocketBindAllow = "ipv4:udp";
      }
      // bounds (256 + lib.min cfg.tftp.maxTransfers 250000 / 32) 64;
  };
}
