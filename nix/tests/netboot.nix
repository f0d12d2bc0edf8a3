# A network with a router, a boot host and a machine without a disk, whose own firmware (OVMF) boots it: with a router
# that names the boot host, as UniFi's "Network Boot" does, and with ProxyDHCP beside a router that gives addresses alone.
{ module, demoPayload }:
{ lib, pkgs, ... }:
let
  unit = "every-channel-netboot";
  stateDir = "/var/lib/every-channel/netboot";
  tokenFile = "/run/chain-token";
  token = "vm-test-token";
  # Matches the token, and not its own place in the argument list of the grep that looks for it.
  tokenPattern = "[v]m-test-token";
  # The first three numbers of a machine's network.
  networkOf =
    config:
    lib.concatStringsSep "." (lib.take 3 (lib.splitString "." config.networking.primaryIPAddress));

  # The demo's guest, which says MARK when it is up.
  release =
    mark:
    let
      name = "ec-runner-x86_64-netboot-${mark}.tar.gz";
    in
    "${
      pkgs.runCommand name { } ''
        mkdir $out tree
        cp ${demoPayload}/kernel ${demoPayload}/initrd tree
        cat > tree/netboot.ipxe <<'SCRIPT'
        #!ipxe
        kernel kernel console=ttyS0 panic=-1 initrd=initrd ec.mark=${mark} ''${cmdline}
        initrd initrd
        boot
        SCRIPT
        tar --create --gzip --file $out/${name} --directory tree kernel initrd netboot.ipxe
      ''
    }/${name}";
in
{
  name = "every-channel-netboot";
  meta.timeout = 7200;

  nodes = {
    boot =
      { config, ... }:
      let
        subnet = "${networkOf config}.0/24";
      in
      {
        imports = [ module ];

        virtualisation = {
          memorySize = 1024;
          vlans = [ 1 ];
        };

        systemd.tmpfiles.rules = [ "f ${tokenFile} 0600 root root - ${token}" ];

        services.every-channel.netboot = {
          enable = true;
          listenIP = config.networking.primaryIPAddress;
          interface = "eth1";
          hostname = config.networking.primaryIPAddress;
          httpAllowedCIDRs = [ subnet ];
          chainTokenFile = tokenFile;
          release.tarball = lib.mkDefault (release "first");
        };

        # Where there is no KVM, a program of Python may take a minute to start.
        systemd.services = lib.mkIf config.services.every-channel.netboot.enable (
          lib.genAttrs [ unit "${unit}-ipxe" ] (name: {
            serviceConfig = {
              TimeoutStartSec = lib.mkForce 900;
              WatchdogSec = lib.mkIf (name == unit) (lib.mkForce 600);
            };
          })
        );

        specialisation = {
          next.configuration.services.every-channel.netboot.release.tarball = release "second";
          proxy.configuration.services.every-channel.netboot = {
            release.tarball = release "second";
            proxyDhcp = {
              enable = true;
              inherit subnet;
            };
          };
          disabled.configuration.services.every-channel.netboot.enable = lib.mkForce false;
        };
      };

    router =
      { config, nodes, ... }:
      {
        virtualisation.vlans = [ 1 ];
        networking.firewall.allowedUDPPorts = [ 67 ];

        services.dnsmasq = {
          enable = true;
          resolveLocalQueries = false;
          settings = {
            port = 0;
            interface = "eth1";
            bind-dynamic = true;
            dhcp-authoritative = true;
            dhcp-range = [ "${networkOf config}.100,${networkOf config}.199,1h" ];
            log-dhcp = true;
          };
        };

        specialisation.network-boot.configuration.services.dnsmasq.settings.dhcp-boot =
          "ec-ipxe.efi,,${nodes.boot.networking.primaryIPAddress}";
      };

    # Its NixOS is never started: there is no disk and no kernel, only firmware and a card.
    client = {
      virtualisation = {
        memorySize = 1024;
        vlans = [ 1 ];
        diskImage = null;
        directBoot.enable = false;
        useEFIBoot = true;
        qemu = {
          # Not the user-mode network, which answers DHCP too.
          networkingOptions = lib.mkForce [ ];
          # Else QEMU's iPXE ROM boots in the firmware's place.
          options = [ "-global virtio-net-pci.romfile=" ];
        };
      };
    };
  };

  testScript =
    { nodes, ... }:
    ''
      import time

      url = "http://${nodes.boot.networking.primaryIPAddress}:8080/netboot.ipxe"
      journal = "journalctl --unit '${unit}*' --output cat"


      def show(name: str, unit: str = "${unit}.service") -> str:
          return boot.succeed(f"systemctl show --property {name} --value {unit}").strip()


      def switch(machine, specialisation: str = "") -> None:
          path = f"specialisation/{specialisation}/" if specialisation else ""
          machine.succeed(f"/run/booted-system/{path}bin/switch-to-configuration test")


      def boot_client(mark: str) -> None:
          words, end = f"EC-GUEST-UP {mark} eth0=${networkOf nodes.boot}.1", time.monotonic() + 1800
          client.start()
          # The driver's own wait_for_console_text takes in one line a second where it has a timeout.
          with client.nested(f"waiting for {words} on the console"):
              while words not in client.last_lines.get(timeout=max(0, end - time.monotonic())):
                  pass
          client.crash()


      def first_stages() -> int:
          return int(boot.succeed(f"{journal} | grep 'TFTP has sent a file' | grep --count ec-ipxe.efi || true"))


      boot.start()
      router.start()

      with subtest("the units come up in their order, and stage a release"):
          boot.wait_for_unit("${unit}.service")
          boot.wait_until_succeeds("test -e ${stateDir}/current/kernel", timeout=300)
          started = [
              int(show("InactiveExitTimestampMonotonic", name))
              for name in ("${unit}-ipxe.service", "${unit}.service", "${unit}-stage.service")
          ]
          assert 0 < started[0] < started[1] < started[2], started
          boot.succeed("ectools netboot serve --check --config /etc/every-channel/netboot.json")

      with subtest("state and processes belong to a user of their own"):
          owner = boot.succeed("stat --format '%U %a' ${stateDir}").strip()
          assert owner == "${unit} 750", owner
          boot.wait_for_unit("${unit}-dnsmasq.service")
          boot.succeed("pgrep --uid ${unit}-dnsmasq dnsmasq")

      with subtest("the script is given to who sends the token, and to nobody else"):
          router.succeed(f"curl --fail --silent --header 'X-Boot-Token: ${token}' {url} | grep ec.mark=first")
          status = router.succeed(f"curl --silent --output /dev/null --write-out '%{{http_code}}' {url}")
          assert status == "403", status

      with subtest("firmware boots where the router names the boot host"):
          switch(router, "network-boot")
          boot_client("first")
          assert first_stages() == 1, first_stages()
          boot.wait_until_succeeds(f"{journal} | grep 'a node has everything it boots from'")

      with subtest("a release that is staged is served at once, by the server that runs"):
          invocation = show("InvocationID")
          switch(boot, "next")
          # A switch does not wait for what it stages.
          boot.wait_until_succeeds("grep --quiet ec.mark=second ${stateDir}/current/netboot.ipxe", timeout=300)
          boot.succeed("grep --quiet ec.mark=first ${stateDir}/previous/netboot.ipxe")
          router.succeed(f"curl --fail --silent --header 'X-Boot-Token: ${token}' {url} | grep ec.mark=second")
          assert show("InvocationID") == invocation

      with subtest("firmware boots with ProxyDHCP, beside a router that gives addresses alone"):
          switch(router)
          switch(boot, "proxy")
          boot.wait_for_unit("${unit}.service")
          boot.wait_for_unit("${unit}-dnsmasq.service")
          boot_client("second")
          assert first_stages() == 2, first_stages()

      with subtest("the token is in no log and no argument list"):
          boot.fail(f"{journal} | grep --fixed-strings ${token}")
          boot.fail("cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep '${tokenPattern}'")

      with subtest("what is disabled leaves its state directory, and nothing else"):
          switch(boot, "disabled")
          boot.fail("systemctl cat ${unit}.service")
          boot.fail("systemctl cat ${unit}-dnsmasq.service")
          boot.fail("pgrep dnsmasq")
          boot.fail("test -e /etc/every-channel/netboot.json")
          boot.succeed("test -s ${stateDir}/current/kernel")
    '';
}
