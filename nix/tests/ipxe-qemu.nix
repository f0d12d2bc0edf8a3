# A host with the guest enabled, in a VM: the guest boots over iPXE, is kept running, is asked before it is stopped,
# and leaves nothing behind but its state. The guest runs under TCG: nested KVM is not everywhere.
{ module, demoPayload }:
{ lib, pkgs, ... }:
let
  unit = "every-channel-ipxe-qemu";
  stateDir = "/var/lib/every-channel/ipxe-qemu";
  mark = "EC-GUEST-UP vm-test";
  root = import ./guest-root.nix {
    inherit pkgs demoPayload;
    mark = "vm-test";
  };
in
{
  name = "every-channel-ipxe-qemu";
  meta.timeout = 7200;

  nodes.host =
    { config, ... }:
    {
      imports = [ module ];

      virtualisation = {
        cores = 2;
        memorySize = 2048;
        diskSize = 4096;
      };

      services.every-channel.ipxe-qemu = {
        enable = true;
        enableKvm = false;
        vcpus = 1;
        memoryMiB = 512;
        disk.size = "1G";
        boot.http.root = "${root}";
        # An emulated e1000 costs most of the time of a boot.
        boot.userNet.model = "virtio-net-pci";
      };

      # Where there is no KVM at all, a program of Python takes a minute to start.
      systemd.services = lib.mkIf config.services.every-channel.ipxe-qemu.enable (
        lib.genAttrs [ unit "${unit}-loopback" ] (name: {
          serviceConfig = {
            TimeoutStartSec = lib.mkForce 900;
            WatchdogSec = lib.mkIf (name == unit) (lib.mkForce 600);
          };
        })
      );

      specialisation.disabled.configuration.services.every-channel.ipxe-qemu.enable = lib.mkForce false;
    };

  testScript = ''
    journal = "journalctl --unit ${unit} --output cat"
    # As the console's line: the runner repeats the last of them where a guest ended badly.
    boots = f"{journal} | grep '\"line\": \"${mark}'"


    def wait_for_boots(count: int) -> None:
        host.wait_until_succeeds(f"test $({boots} | wc --lines) -ge {count}", timeout=1800)


    with subtest("the settings file passes the checker"):
        host.wait_for_unit("multi-user.target")
        host.succeed("${unit} --check --config /etc/every-channel/ipxe-qemu.json")

    with subtest("the guest boots over iPXE"):
        host.wait_for_unit("${unit}.service")
        wait_for_boots(1)
        host.succeed(f"{boots} | grep --fixed-strings 'eth0=10.0.2.15'")
        host.succeed(f"{journal} | grep boot-http | grep /initrd")

    with subtest("the guest and its disk belong to a user of their own"):
        host.succeed("pgrep --uid ${unit} qemu-system")
        owner = host.succeed("stat --format '%U %a' ${stateDir}/disk.qcow2").strip()
        assert owner == "${unit} 600", owner

    with subtest("of the host's loopback, the guest's user reaches the boot server alone"):
        connect = "bash -c '</dev/tcp/127.0.0.1/{}'"
        as_guest = "runuser --user ${unit} -- "
        host.succeed(
            "systemd-run --unit=private systemd-socket-activate --listen=127.0.0.1:9001 --accept --inetd cat"
        )
        host.wait_until_succeeds(connect.format(9001))
        host.fail(as_guest + connect.format(9001))
        host.succeed(as_guest + connect.format(8080))

    with subtest("a guest that dies is started again, on the same disk"):
        inode = host.succeed("stat --format %i ${stateDir}/disk.qcow2")
        host.succeed("pkill --signal KILL --uid ${unit} qemu-system")
        wait_for_boots(2)
        assert host.succeed("stat --format %i ${stateDir}/disk.qcow2") == inode

    with subtest("a stop asks the guest to power itself down"):
        host.succeed("systemctl stop ${unit}.service")
        host.succeed(f"{journal} | grep 'asked the guest to power itself down'")
        host.fail(f"{journal} | grep -E 'told QEMU to quit|sent QEMU SIG'")
        host.fail("pgrep qemu-system")
        result = host.succeed("systemctl show --property Result --value ${unit}.service").strip()
        assert result == "success", result

    with subtest("what is disabled leaves its state directory, and nothing else"):
        host.succeed("systemctl start ${unit}.service")
        host.wait_until_succeeds("pgrep --uid ${unit} qemu-system")
        host.succeed("/run/current-system/specialisation/disabled/bin/switch-to-configuration test")
        host.fail("systemctl cat ${unit}.service")
        host.fail("pgrep qemu-system")
        host.fail("test -e /etc/every-channel/ipxe-qemu.json")
        host.succeed("test -s ${stateDir}/disk.qcow2")
  '';
}
