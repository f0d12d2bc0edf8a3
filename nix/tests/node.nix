# The publisher daemon's service, with a stand-in for the daemon: on a machine of its own (what it gets, what it may do, its
# ends and its restarts), and in the publisher's guest, which has no disk.
{ module, guest }:
{ lib, ... }:
let
  unit = "every-channel-node";
  secret = "vm-test-secret";
  port = 8090;

  node =
    { pkgs, ... }:
    {
      services.every-channel.node = {
        package = pkgs.writeShellScriptBin "ec-node" ''
          exec ${pkgs.python3}/bin/python3 -I ${./ec_node.py} "$@"
        '';
        settings = {
          health.port = port;
          log.level = "info";
        };
        environment.EC_TEST = "100% of it";
        extraArgs = [
          "--name"
          "two words, and 5%"
        ];
        credentials.publish-key = "/run/publish-key";
        restartSeconds = 1;
        stopSeconds = 5;
      };
      systemd.tmpfiles.rules = [ "f /run/publish-key 0600 root root - ${secret}" ];
    };
in
{
  name = "every-channel-node";
  meta.timeout = 1800;

  nodes = {
    machine = {
      imports = [
        module
        node
      ];
      services.every-channel.node.enable = true;
      specialisation.disabled.configuration.services.every-channel.node.enable = lib.mkForce false;
    };

    # The profile enables the daemon where there is a package.
    publisher = {
      imports = [
        guest
        node
      ];
      services.every-channel.publisher-guest.enable = true;
      virtualisation.diskImage = null;
      # The profile leaves the name to DHCP.
      networking.hostName = "publisher";
    };
  };

  testScript = ''
    import hashlib
    import json
    from typing import Any

    directory = "/var/lib/every-channel/node"
    journal = "journalctl --unit ${unit} --output cat"


    def ask(machine) -> dict[str, Any]:
        machine.wait_for_unit("${unit}.service")
        url = "http://127.0.0.1:${toString port}/health"
        answer = json.loads(machine.wait_until_succeeds(f"curl --fail --silent {url}"))
        assert isinstance(answer, dict)
        return answer


    def main_pid() -> int:
        return int(machine.succeed("systemctl show --property MainPID --value ${unit}.service"))


    def check_given(health: dict[str, Any]) -> None:
        assert health["settings"] == {"health": {"port": ${toString port}}, "log": {"level": "info"}}, health
        assert health["arguments"] == ["--name", "two words, and 5%"], health
        assert health["environment"] == {"EC_TEST": "100% of it"}, health
        digest = hashlib.sha256(b"${secret}").hexdigest()
        assert health["credentials"] == {"publish-key": digest}, health
        assert health["user"] == "${unit}", health


    start_all()

    with subtest("the daemon gets its settings, its arguments, its environment and its secret"):
        health = ask(machine)
        check_given(health)
        machine.fail(f"{journal} | grep --fixed-strings ${secret}")

    with subtest("the secret's own file, and the copy, are for nobody else"):
        assert health["secret"] == "Permission denied", health
        machine.succeed("runuser --user nobody -- test -e /etc/passwd")
        machine.fail("runuser --user nobody -- cat /run/credentials/${unit}.service/publish-key")

    with subtest("it writes to its state directory alone"):
        assert health["directory"] == directory, health
        assert health["writes"] == {
            "/var/lib/ec-node": "Read-only file system",
            "/etc/ec-node": "Read-only file system",
            "/tmp/ec-node": "done",
            "ec-node": "done",
        }, health
        # Its /tmp is its own.
        machine.fail("test -e /tmp/ec-node")
        machine.succeed(f"test -e {directory}/ec-node")
        assert machine.succeed(f"stat --format '%U %a' {directory}").strip() == "${unit} 750"

    with subtest("it has no privileges and no devices, and sees the host's addresses, not its packets"):
        assert (health["capabilities"], health["noNewPrivileges"]) == (0, True), health
        machine.succeed("test -e /dev/vda")
        assert health["disk"] is False, health
        assert "eth1" in health["addresses"], health
        assert health["packets"] == "Address family not supported by protocol", health

    with subtest("a daemon that dies is started again, however often"):
        for count in range(1, 4):
            assert machine.succeed(f"cat {directory}/runs").split() == ["started"] * count
            machine.succeed(f"kill -KILL {main_pid()}")
            machine.wait_until_succeeds(f"test $(wc --lines < {directory}/runs) -eq {count + 1}")
            ask(machine)
        assert machine.get_unit_property("${unit}.service", "NRestarts") == "3"
        assert machine.get_unit_property("${unit}.service", "StartLimitIntervalUSec") == "0"

    with subtest("a stop is asked for, and after stopSeconds it is made"):
        machine.succeed("systemctl stop ${unit}.service")
        machine.succeed(f"{journal} | grep --line-regexp 'stopped when asked'")
        assert machine.get_unit_property("${unit}.service", "Result") == "success"
        machine.succeed(f"touch {directory}/stubborn", "systemctl start ${unit}.service")
        ask(machine)
        machine.succeed("systemctl stop ${unit}.service")
        machine.succeed(f"{journal} | grep --line-regexp 'not stopping'")
        assert machine.get_unit_property("${unit}.service", "Result") == "timeout"
        machine.succeed(f"rm {directory}/stubborn", "systemctl start ${unit}.service")
        ask(machine)

    with subtest("what is disabled leaves its state directory, and nothing else"):
        pid = main_pid()
        machine.succeed("/run/current-system/specialisation/disabled/bin/switch-to-configuration test")
        machine.fail("systemctl cat ${unit}.service")
        machine.fail(f"test -e /proc/{pid}")
        machine.fail("id ${unit}")
        machine.succeed(f"test -s {directory}/runs")

    with subtest("in the publisher's guest it runs by itself, in memory"):
        check_given(ask(publisher))
        assert publisher.succeed("findmnt --noheadings --output FSTYPE /").strip() == "tmpfs"
        publisher.fail("test -e /dev/vda")
        publisher.succeed("test -d /run/log/journal")
        publisher.fail("test -e /var/log/journal")

    with subtest("no unit of the guest has failed"):
        publisher.wait_for_unit("multi-user.target")
        failed = publisher.succeed("systemctl --failed --no-legend --plain").strip()
        assert failed == "", failed

    with subtest("a guest that is started again is a new one"):
        identity = publisher.succeed("cat /etc/machine-id")
        publisher.succeed("grep --line-regexp --count started /var/lib/every-channel/node/runs")
        publisher.shutdown()
        publisher.start()
        check_given(ask(publisher))
        assert publisher.succeed("cat /var/lib/every-channel/node/runs").split() == ["started"]
        assert publisher.succeed("cat /etc/machine-id") != identity
  '';
}
