# The options of ec-ipxe-qemu.nix.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.ipxe-qemu;
  path = "services.every-channel.ipxe-qemu";
  inherit (pkgs.stdenv.hostPlatform) isx86_64;
  buildTools = import ./build-tools.nix { inherit config pkgs; };
  runner = lib.getExe' buildTools.tools "every-channel-ipxe-qemu";

  # Only what the boot script is made of, so that more memory for the guest does not build iPXE again.
  bootScript = pkgs.runCommand "every-channel.ipxe" { } ''
    ${runner} --print-boot-script --config ${
      (pkgs.formats.json { }).generate "boot-script-settings.json" {
        boot = {
          inherit (cfg.boot) chainUrl;
          http = { inherit (cfg.boot.http) bindIp port; };
          userNet = { inherit (cfg.boot.userNet) dnsServers; };
        };
      }
    } > $out
  '';

  inherit (lib) mkOption types;
in
{
  options.services.every-channel.ipxe-qemu = {
    enable = lib.mkEnableOption "a persistent QEMU guest that boots over iPXE";

    restartIfChanged = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether a switch of this host to another configuration restarts the guest, where that has changed the guest's
        settings or programs: an update of this host's packages is such a change. False leaves the guest running as it
        was started, and the switch says so (`NOT restarting`); it takes up what has changed once it is restarted, by
        `systemctl restart every-channel-ipxe-qemu` or with the host. Until then a `boot.http.root` in the Nix store is
        the one that it was started with, and no garbage collection takes it. The forge's host, whose guest is there for
        what the host's system brings, sets true. On a system without NixOS, `ectools service install` restarts what has
        changed.
      '';
    };

    package = mkOption {
      type = types.package;
      default = if isx86_64 then pkgs.qemu_kvm else pkgs.qemu;
      defaultText = lib.literalExpression "pkgs.qemu_kvm";
      example = lib.literalExpression "pkgs.qemu";
      description = ''
        The QEMU package; it provides `qemu-system-x86_64` and `qemu-img`. On other platforms than x86-64, `pkgs.qemu_kvm`
        does not, and the default is `pkgs.qemu`.
      '';
    };

    name = mkOption {
      type = types.str;
      default = "every-channel-ipxe";
      example = "publisher-1";
      description = "The guest's name, as QEMU and the logs show it.";
    };

    machine = mkOption {
      type = types.str;
      default = if cfg.enableKvm then "q35,accel=kvm" else "q35,accel=tcg";
      defaultText = lib.literalExpression ''if enableKvm then "q35,accel=kvm" else "q35,accel=tcg"'';
      example = "pc,accel=kvm";
      description = ''
        The machine type and its properties, as QEMU's `-machine` takes them. The accelerator in it gives way to
        {option}`${path}.enableKvm`: `accel=kvm` does not bring KVM back where that is false, and is
        replaced by `accel=tcg` where KVM turns out not to carry the guest.
      '';
    };

    cpu = mkOption {
      type = types.str;
      default = if cfg.enableKvm then "host" else "max";
      defaultText = lib.literalExpression ''if enableKvm then "host" else "max"'';
      example = "Skylake-Server-v4";
      description = ''
        The CPU model, as QEMU's `-cpu` takes it. `host` needs KVM; where the guest runs without it, `max` is
        used instead.
      '';
    };

    enableKvm = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Use KVM when it is available. Where it is not, or where it opens but does not carry a guest, the guest runs
        under TCG (emulation, many times slower) and a warning says so; see {option}`${path}.requireKvm`. On a NixOS host of
        another platform than x86-64, whose KVM runs no x86-64 guest, the default is false.
      '';
    };

    requireKvm = mkOption {
      type = types.bool;
      default = false;
      description = "Fail, with the reason, rather than run under TCG when KVM cannot be used.";
    };

    vcpus = mkOption {
      type = types.ints.positive;
      default = 2;
      example = 4;
      description = "Number of virtual CPUs.";
    };

    memoryMiB = mkOption {
      type = types.ints.positive;
      default = 4096;
      example = 8192;
      description = ''
        Memory of the guest in MiB. The service may use this, 32 MiB for each virtual CPU, and 1536 MiB for QEMU itself
        and the boot HTTP server (its `MemoryMax`); raise that where {option}`${path}.extraArgs` ask for more.
      '';
    };

    serial = mkOption {
      type = types.str;
      default = "mon:stdio";
      example = "unix:/var/lib/every-channel/ipxe-qemu/serial.sock,server=on,wait=off";
      description = ''
        Where the guest's first serial port goes, as QEMU's `-serial` takes it. With `mon:stdio` the console goes
        to the journal, and to the terminal when the runner is started by hand. A socket or a file can be made in
        {option}`${path}.stateDir`.
      '';
    };

    stateDir = mkOption {
      type = types.str;
      default = "/var/lib/every-channel/ipxe-qemu";
      example = "/srv/guests/publisher-1";
      description = ''
        Directory of the guest's state: its disk and its TFTP directory. It is the guest's own, and all that lies in it is
        given to the service's user. It stays when the service is disabled.
      '';
    };

    disk = {
      path = mkOption {
        type = types.str;
        default = "${cfg.stateDir}/disk.qcow2";
        defaultText = lib.literalExpression ''"''${stateDir}/disk.qcow2"'';
        example = "/srv/guests/disk.qcow2";
        description = ''
          The guest's qcow2 disk. It is made when it is missing and never overwritten. Two runners never use one disk
          at a time. Its directory is made too; one that is there already must be writable for the service's user.
        '';
      };

      size = mkOption {
        type = types.str;
        default = "16G";
        example = "64G";
        description = ''
          Virtual size of the disk when it is first made, as `qemu-img` takes it: bytes, or a number with `K`, `M`,
          `G` or `T`. Changing it later does not resize the disk.
        '';
      };
    };

    boot = {
      order = mkOption {
        type = types.str;
        default = "order=n";
        example = "order=cn";
        description = "Boot order, as QEMU's `-boot` takes it: `n` is the network, `c` the disk.";
      };

      chainUrl = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "https://boot.example.org/netboot.ipxe";
        description = ''
          The iPXE script that the guest's boot file goes on to. Null means the local boot HTTP server:
          `http://10.0.2.2:''${port}/netboot.ipxe`, where 10.0.2.2 is this host as the guest's user-mode network shows
          it.
        '';
      };

      chainTokenFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/run/secrets/chain-token";
        description = ''
          File that holds the token which the server of {option}`${path}.boot.chainUrl` asks for; it is
          sent as the query parameter `token`. The service gets it as a systemd credential; it never enters the Nix
          store, an argument list or a log. A token needs a boot file that is written at run time, so
          {option}`${path}.boot.userNet.bootFile` must then be null, which is its default in that case.
        '';
      };

      progressSeconds = mkOption {
        type = types.ints.positive;
        default = 90;
        example = 300;
        description = ''
          How long the first boot under KVM may take to show any progress: a request to the boot HTTP server, a
          connection of the user-mode network, or a read from the disk. After that, KVM counts as unusable.
        '';
      };

      http = {
        enable = mkOption {
          type = types.bool;
          default = true;
          description = "Serve {option}`${path}.boot.http.root` to the guest with the boot HTTP server.";
        };

        bindIp = mkOption {
          type = types.str;
          default = "127.0.0.1";
          example = "0.0.0.0";
          description = ''
            Address that the boot HTTP server listens on. The guest reaches 127.0.0.1 and 0.0.0.0 of this host as
            10.0.2.2, and any other address by itself.
          '';
        };

        port = mkOption {
          type = types.port;
          default = 8080;
          example = 8081;
          description = "Port of the boot HTTP server.";
        };

        root = mkOption {
          type = types.nullOr types.str;
          default = null;
          example = "/srv/netboot/current";
          description = ''
            Directory that holds `kernel`, `initrd` and `netboot.ipxe`. The service's user must be able to read it.
          '';
        };
      };

      userNet = {
        hostname = mkOption {
          type = types.str;
          default = "every-channel-ipxe";
          example = "publisher-1";
          description = "Host name that the user-mode network's DHCP gives the guest.";
        };

        dnsServers = mkOption {
          type = types.listOf types.str;
          default = [ "1.1.1.1" ];
          example = [ "9.9.9.9" ];
          description = "IPv4 addresses of DNS servers for the guest. The first one is applied.";
        };

        tftpDir = mkOption {
          type = types.str;
          default = "${cfg.stateDir}/tftp";
          defaultText = lib.literalExpression ''"''${stateDir}/tftp"'';
          example = "/srv/guests/tftp";
          description = "Directory that the user-mode network serves to the guest over TFTP. The boot file is put there.";
        };

        bootFilename = mkOption {
          type = types.str;
          default = "undionly.kpxe";
          example = "every-channel.ipxe";
          description = ''
            Name of the boot file in the TFTP directory, at most 127 bytes. The runner writes this file at every start.
          '';
        };

        bootFile = mkOption {
          type = types.nullOr types.str;
          default =
            if isx86_64 && cfg.boot.chainTokenFile == null then
              "${pkgs.ipxe.override { embedScript = bootScript; }}/undionly.kpxe"
            else
              null;
          defaultText = lib.literalMD ''
            an `undionly.kpxe` with the boot script embedded, built by Nix; null where a chain token is set, on other
            platforms than x86-64, and outside NixOS
          '';
          example = "/srv/ipxe/undionly.kpxe";
          description = ''
            The file that becomes the boot file. Null means a plain iPXE script, written when the guest starts, which
            the iPXE in QEMU's own network ROMs runs.
          '';
        };

        model = mkOption {
          type = types.str;
          default = "e1000";
          example = "virtio-net-pci";
          description = "Device model of the boot NIC, as QEMU's `-device` takes it.";
        };

        hostLoopback = mkOption {
          type = types.enum [
            "boot-server"
            "all"
          ];
          default = "boot-server";
          description = ''
            What of this host's loopback (127.0.0.0/8 and ::1) the guest may reach, as 10.0.2.2 or in any other way.
            `boot-server`: the boot HTTP server; the port of {option}`${path}.boot.chainUrl` where that names 10.0.2.2;
            and DNS where {option}`${path}.boot.userNet.dnsServers` names a resolver there. nftables rules for the
            service's user hold it to that, those connections too that QEMU makes for
            {option}`${path}.serial` or {option}`${path}.extraArgs`; without the rules the service does not start.
            `all`: every service that listens there, as QEMU's user-mode network has it by itself.

            Neither limits what the guest reaches elsewhere, this host's other addresses included.
          '';
        };
      };
    };

    shutdown = {
      powerdownSeconds = mkOption {
        type = types.ints.unsigned;
        default = 60;
        example = 180;
        description = "How long the guest has to power itself down after the ACPI power button was pressed.";
      };

      quitSeconds = mkOption {
        type = types.ints.unsigned;
        default = 10;
        example = 30;
        description = "How long QEMU has to end after it was told to quit.";
      };

      terminateSeconds = mkOption {
        type = types.ints.unsigned;
        default = 10;
        example = 30;
        description = "How long QEMU has to end after SIGTERM; then it gets SIGKILL.";
      };
    };

    extraArgs = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [
        "-device"
        "virtio-balloon-pci"
      ];
      description = ''
        Further arguments for QEMU, appended in this order. They do not widen what the service may touch: a device or a
        directory that they name has to be allowed in the unit's `serviceConfig` too.
      '';
    };
  };
}
