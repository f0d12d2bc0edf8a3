# The publisher daemon `ec-node` as a systemd service. The program is the user's to bring.
{
  config,
  lib,
  options,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.every-channel.node;
  path = "services.every-channel.node";
  unit = "every-channel-node";

  inherit (import ./systemd.nix { inherit lib; }) plain refuseStorePath sandbox;
  inherit (lib) mkDefault mkOption types;

  # Without paths, unlike the type of pkgs.formats.json: one would be copied into the Nix store.
  json =
    types.nullOr (
      types.oneOf [
        types.bool
        types.int
        types.float
        types.str
        (types.attrsOf json)
        (types.listOf json)
      ]
    )
    // {
      description = "JSON value";
    };

  settingsArguments = lib.optionals (cfg.settingsFile != null) (
    lib.optional (cfg.settingsFlag != null) cfg.settingsFlag ++ [ cfg.settingsFile ]
  );
in
{
  options.services.every-channel.node = {
    enable = lib.mkEnableOption "the publisher daemon `ec-node`";

    package = mkOption {
      type = types.package;
      example = lib.literalExpression "inputs.ec-node.packages.\${pkgs.stdenv.hostPlatform.system}.default";
      description = "The package that brings the daemon. It is not part of this repository, so there is no default.";
    };

    program = mkOption {
      type = types.strMatching "[^/]+";
      default = "ec-node";
      example = "publisher";
      description = "Name of the daemon in the package's {file}`bin` directory.";
    };

    settings = mkOption {
      type = types.attrsOf json;
      default = { };
      example = {
        log.level = "info";
        publish.bitrateKbit = 6000;
      };
      description = ''
        The daemon's settings, written to a JSON file. The file is in the Nix store, which everyone can read: secrets
        belong into {option}`${path}.credentials`.
      '';
    };

    settingsFile = mkOption {
      type = types.nullOr (types.strMatching "/.*");
      default = "${(pkgs.formats.json { }).generate "${unit}.json" cfg.settings}";
      defaultText = lib.literalMD "a file made of {option}`${path}.settings`";
      example = "/etc/ec-node.json";
      description = "The settings file that the daemon is started with. Null: it is started without one.";
    };

    settingsFlag = mkOption {
      type = types.nullOr types.str;
      default = "--config";
      example = "--settings";
      description = "The argument that stands before the settings file. Null: none does.";
    };

    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--verbose" ];
      description = "Further arguments, after the settings file, in this order.";
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        RUST_LOG = "info";
      };
      description = "Environment variables. They are in the Nix store: no secrets.";
    };

    credentials = mkOption {
      type = types.attrsOf (types.strMatching "/.*");
      default = { };
      example = {
        publish-key = "/run/secrets/publish-key";
      };
      description = ''
        Files with secrets, by the name that the daemon finds each under in the directory `$CREDENTIALS_DIRECTORY`, which is
        {file}`/run/credentials/${unit}.service`. systemd hands them over (see `LoadCredential` in systemd.exec(5)): the
        files themselves may be readable by root alone.
      '';
    };

    user = mkOption {
      type = types.str;
      default = unit;
      example = "publisher";
      description = "User that the daemon runs as. One of another name than the default's has to exist.";
    };

    group = mkOption {
      type = types.str;
      default = unit;
      example = "media";
      description = "Group that the daemon runs as. One of another name than the default's has to exist.";
    };

    restart = mkOption {
      type = types.enum [
        "always"
        "on-failure"
        "no"
      ];
      default = "always";
      description = "When a daemon that ended is started again; systemd does not give up after a number of times.";
    };

    restartSeconds = mkOption {
      type = types.ints.positive;
      default = 5;
      example = 30;
      description = "How long after its end the daemon is started again.";
    };

    stopSeconds = mkOption {
      type = types.ints.positive;
      default = 30;
      example = 120;
      description = "How long the daemon has to end after SIGTERM; then it gets SIGKILL.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = options.services.every-channel.node.package.isDefined;
        message = "${path}.package must be set when enable is true: the daemon is not part of every.channel's network boot";
      }
    ]
    ++ lib.mapAttrsToList (name: refuseStorePath "${path}.credentials.${name}") cfg.credentials
    ++ lib.mapAttrsToList (name: _: {
      assertion = builtins.match "[a-zA-Z0-9_-][a-zA-Z0-9._-]*" name != null;
      message = "${path}.credentials: ${builtins.toJSON name} cannot be a credential's name, which has letters, digits, dots, _ and - only";
    }) cfg.credentials;

    users.users = lib.mkIf (cfg.user == unit) {
      ${unit} = {
        isSystemUser = true;
        inherit (cfg) group;
        description = "every.channel publisher daemon";
      };
    };
    users.groups = lib.mkIf (cfg.group == unit) { ${unit} = { }; };

    systemd.services.${unit} = {
      description = "every.channel publisher daemon";
      documentation = [ "https://every.channel" ];
      after = [ "network-online.target" ];
      wants = [ "network-online.target" ];
      wantedBy = [ "multi-user.target" ];

      environment = lib.mapAttrs (_: plain) cfg.environment;
      unitConfig.StartLimitIntervalSec = 0;

      # By default only, so that a daemon that needs more is given it by a plain definition of the host's.
      serviceConfig =
        lib.mapAttrs (_: mkDefault) (
          sandbox
          // {
            Type = "exec";
            PrivateDevices = true;
            PrivateUsers = true;
            # What the daemon takes is not known here: that it cannot take the host's, is.
            MemoryMax = "80%";
            TasksMax = 1024;
            # Netlink tells a daemon which addresses the host has.
            RestrictAddressFamilies = sandbox.RestrictAddressFamilies ++ [ "AF_NETLINK" ];
            StateDirectory = "every-channel/node";
            StateDirectoryMode = "0750";
            WorkingDirectory = "%S/every-channel/node";
          }
        )
        // {
          ExecStart = utils.escapeSystemdExecArgs (
            [ (lib.getExe' cfg.package cfg.program) ] ++ settingsArguments ++ cfg.extraArgs
          );
          User = cfg.user;
          Group = cfg.group;
          LoadCredential = lib.mapAttrsToList (name: file: "${name}:${plain file}") cfg.credentials;
          Restart = cfg.restart;
          RestartSec = cfg.restartSeconds;
          TimeoutStopSec = cfg.stopSeconds;
        };
    };
  };
}
