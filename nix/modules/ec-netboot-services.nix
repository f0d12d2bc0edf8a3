# The units of ec-netboot.nix: boot binaries and first script, staging, serving.
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
  inherit (import ./systemd.nix { inherit lib; }) plain quoted sandbox;

  documentation = [ "https://every.channel" ];
  online = [ "network-online.target" ];
  command = verb: "${ectools} netboot ${verb} --config /etc/every-channel/netboot.json";

  # The units read one file; each takes note of the changes of what it acts upon, and of no other.
  changesOf = names: [ (builtins.toJSON (lib.getAttrs names settings)) ];

  credential = name: file: lib.optional (file != null) "${name}:${plain file}";

  common = sandbox // {
    User = unit;
    Group = unit;
    WorkingDirectory = plain cfg.stateDir;
  };
  writing = common // {
    Type = "oneshot";
    # "-": a folder that is missing is the program's to report, in words.
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

  # dnsmasq's: TFTP's port; NET_ADMIN, without which it is no DHCP server, reaches clients that have no address yet.
  capabilities = [
    "CAP_NET_BIND_SERVICE"
  ]
  ++ lib.optional cfg.proxyDhcp.enable "CAP_NET_ADMIN";
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
        PrivateDevices = true;
      }
      // lib.optionalAttrs (!remote) {
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
        PrivateDevices = true;
      };
  };

  ${unit} = {
    description = "every.channel network boot: HTTP, TFTP${lib.optionalString cfg.proxyDhcp.enable ", ProxyDHCP"}";
    inherit documentation;
    after = [
      "local-fs.target"
      "${unit}-ipxe.service"
    ]
    ++ online;
    wants = [ "${unit}-ipxe.service" ] ++ online;
    wantedBy = [ "multi-user.target" ];
    unitConfig.RequiresMountsFor = [ (quoted cfg.stateDir) ];
    restartTriggers = changesOf fixed;
    # Downloads go on over a reload.
    reloadTriggers = changesOf (
      builtins.attrNames (builtins.removeAttrs settings ([ "release" ] ++ fixed))
    );
    path = [ pkgs.dnsmasq ];
    serviceConfig = common // {
      Type = "notify";
      NotifyAccess = "main";
      ExecStart = command "serve";
      ExecReload = "${lib.getExe' pkgs.coreutils "kill"} -HUP $MAINPID";
      LoadCredential = credential "chain-token" cfg.chainTokenFile;

      Restart = "always";
      RestartSec = 5;
      TimeoutStartSec = 120;
      WatchdogSec = 60;
      KillMode = "mixed";
      # Downloads in flight have 30 s to end.
      TimeoutStopSec = 60;
      # A connection takes a socket and a file.
      LimitNOFILE = 4 * lib.min cfg.maxConnections 250000 + 1024;

      AmbientCapabilities = capabilities;
      CapabilityBoundingSet = capabilities;
      PrivateDevices = true;
      RestrictAddressFamilies = sandbox.RestrictAddressFamilies ++ [
        # How dnsmasq learns of interfaces and addresses.
        "AF_NETLINK"
      ];
    };
  };
}
