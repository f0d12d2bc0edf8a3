# The forge's host, as it is but for a smaller guest: its guest boots and has no network but QEMU's own, and the host,
# other than a runner, keeps what is written to it.
{ module, demoPayload }:
{ lib, pkgs, ... }:
let
  unit = "every-channel-ipxe-qemu";
  mark = "EC-GUEST-UP vm-test";
  root = import ./guest-root.nix {
    inherit pkgs demoPayload;
    mark = "vm-test";
  };
in
{
  name = "every-channel-forge";
  meta.timeout = 7200;

  nodes.forge = {
    imports = [
      module
      ../hosts/forge.nix
    ];

    virtualisation = {
      cores = 2;
      memorySize = 2048;
      diskSize = 4096;
    };

    # The test's default is another one than the host's.
    networking.hostName = "forge";

    # Where there is no KVM at all, a program of Python takes a minute to start.
    systemd.services = lib.genAttrs [ unit "${unit}-loopback" ] (name: {
      serviceConfig = {
        TimeoutStartSec = lib.mkForce 900;
        WatchdogSec = lib.mkIf (name == unit) (lib.mkForce 600);
      };
    });

    services.every-channel.ipxe-qemu = {
      # Nested KVM is not everywhere.
      enableKvm = false;
      memoryMiB = 512;
      disk.size = "1G";
      boot = {
        http.root = "${root}";
        # An emulated e1000 costs most of the time of a boot.
        userNet.model = "virtio-net-pci";
      };
    };
  };

  testScript = ''
    journal = "journalctl --boot --unit ${unit} --output cat"
    # As the console's line: the runner repeats the last of them where a guest ended badly.
    boots = f"{journal} | grep '\"line\": \"${mark}'"

    with subtest("the guest boots, on QEMU's user-mode network"):
        forge.wait_for_unit("${unit}.service")
        forge.wait_until_succeeds(f"{boots} | grep --fixed-strings 'eth0=10.0.2.15'", timeout=1800)

    with subtest("nothing of the guest is on the LAN"):
        arguments = forge.succeed("tr '\\0' '\\n' < /proc/$(pgrep --uid ${unit} qemu-system)/cmdline")
        backends = [line for line in arguments.splitlines() if line.startswith(("user,", "tap,", "bridge,"))]
        assert len(backends) == 1 and backends[0].startswith("user,"), backends
        links = forge.succeed("ip -details link show")
        assert "eth0" in links and "macvtap" not in links, links
        listening = forge.succeed("ss --no-header --listening --tcp --numeric 'sport = :8080'").split()
        assert listening[3] == "127.0.0.1:8080", listening

    with subtest("logging in from afar takes a key"):
        forge.wait_for_unit("sshd.service")
        forge.succeed("sshd -T | grep --ignore-case --line-regexp 'passwordauthentication no'")

    with subtest("the host keeps what is written to it, and the guest its disk"):
        assert forge.succeed("findmnt --noheadings --output FSTYPE /").strip() == "ext4"
        disk = forge.succeed("stat --format %i /var/lib/every-channel/ipxe-qemu/disk.qcow2")
        forge.succeed("echo written > /home/vm-test")
        forge.shutdown()
        forge.start()
        forge.succeed("grep --quiet written /home/vm-test")
        forge.wait_until_succeeds(f"{boots}", timeout=1800)
        assert forge.succeed("stat --format %i /var/lib/every-channel/ipxe-qemu/disk.qcow2") == disk
  '';
}
