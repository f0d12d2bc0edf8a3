# The options of ec-netboot.nix below `fleet` that say what several boot hosts share their state by.
{ lib, ... }:
let
  path = "services.every-channel.netboot";

  inherit (lib) mkOption types;
  inherit (import ./names.nix) name;
  # A server of NATS.
  server = "(nats|tls)://([A-Za-z0-9.-]+|\\[[0-9a-fA-F:.]+])(:[0-9]{1,5})?";
in
{
  options.services.every-channel.netboot.fleet = {
    state = mkOption {
      type = types.nullOr (types.strMatching "${server}(,${server})*");
      default = null;
      example = "tls://nats-1.example.org:4222,tls://nats-2.example.org:4222";
      description = ''
        The NATS servers of one cluster, with JetStream, over which several boot hosts share what they remember: boots,
        rollouts, slots, what is said of nodes, and what happened. Each host keeps a copy below
        {option}`${path}.stateDir`: while no server can be reached, nodes boot by what was known last, what happens is
        said later, and rollouts wait. All boot hosts have the same fleet. Null: this host remembers for itself.
        A change takes a restart of the boot server; what it remembered for itself goes over.
      '';
    };

    stateBucket = mkOption {
      type = types.strMatching "[A-Za-z0-9_-]{1,64}";
      default = "every-channel";
      example = "site-vienna";
      description = ''
        What the boot hosts share is under this name in NATS: the key-value bucket, and with `-events` behind it the
        stream of what happened. They are made where they are not there.
      '';
    };

    stateCaFile = mkOption {
      type = types.nullOr (types.strMatching "/.*");
      default = null;
      example = "/etc/ssl/private-ca.pem";
      description = ''
        The certificate of a CA (PEM) that those of the NATS servers are held against. A server without one, or without
        TLS, is told nothing.
      '';
    };

    stateCredentialsFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/secrets/nats.creds";
      description = ''
        File that holds the right to use the NATS servers: a `.creds` file, an nkey seed, the lines `user=NAME` and
        `password=PASSWORD`, or a token on one line. The last two are sent as they are, so they want TLS. The service
        gets it as a systemd credential; it never enters the Nix store, an argument list or a log.
      '';
    };

    hostName = mkOption {
      type = types.nullOr (types.strMatching name);
      default = null;
      example = "boot-1";
      description = ''
        What this boot host is called among those that share {option}`${path}.fleet.state` (`ectools fleet hosts`), each
        by another name. Null means the name of the machine, up to the first dot.
      '';
    };
  };
}
