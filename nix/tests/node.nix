# The publisher daemon's service with a daemon of a few lines: its settings, its secret, its confinement, its restart.
{ module }:
{ lib, pkgs, ... }:
let
  unit = "every-channel-node";
  secret = "vm-test-secret";

  daemon = pkgs.writeShellScriptBin "ec-node" ''
    test "$1" = --config
    echo "settings: $(cat "$2")"
    echo "secret: $(wc --bytes < "$CREDENTIALS_DIRECTORY/publish-key") bytes"
    echo started >> runs
    echo "outside: $(touch /var/lib/vm-test 2>&1)"
    exec sleep infinity
  '';
in
{
  name = "every-channel-node";
  meta.timeout = 900;

  nodes.machine = {
    imports = [ module ];

    systemd.tmpfiles.rules = [ "f /run/publish-key 0600 root root - ${secret}" ];

    services.every-channel.node = {
      enable = true;
      package = daemon;
      settings.log.level = "info";
      credentials.publish-key = "/run/publish-key";
      restartSeconds = 1;
    };

    specialisation.disabled.configuration.services.every-channel.node.enable = lib.mkForce false;
  };

  testScript = ''
    journal = "journalctl --unit ${unit} --output cat"
    runs = "/var/lib/every-channel/node/runs"

    with subtest("the daemon gets its settings and its secret"):
        machine.wait_for_unit("${unit}.service")
        machine.wait_until_succeeds(f"{journal} | grep 'settings: .*\"level\":\"info\"'")
        machine.wait_until_succeeds(f"{journal} | grep 'secret: ${toString (builtins.stringLength secret)} bytes'")
        machine.fail(f"{journal} | grep --fixed-strings ${secret}")

    with subtest("it has a user of its own, and writes to its state directory alone"):
        machine.succeed("pgrep --uid ${unit} sleep")
        machine.wait_until_succeeds(f"{journal} | grep 'outside: .*Read-only file system'")
        machine.wait_until_succeeds(f"test $(grep --count started {runs}) -eq 1")

    with subtest("a daemon that dies is started again"):
        machine.succeed("pkill --signal KILL --uid ${unit} sleep")
        machine.wait_until_succeeds(f"test $(grep --count started {runs}) -eq 2")
        machine.wait_until_succeeds("systemctl is-active ${unit}.service")

    with subtest("what is disabled leaves its state directory, and nothing else"):
        machine.succeed("/run/current-system/specialisation/disabled/bin/switch-to-configuration test")
        machine.fail("systemctl cat ${unit}.service")
        machine.fail("pgrep --uid ${unit} sleep")
        machine.succeed(f"test -s {runs}")
  '';
}
