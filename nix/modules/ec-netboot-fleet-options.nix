# The options of ec-netboot.nix below `fleet`: machines by name, and what each of them boots.
{ lib, ... }:
let
  path = "services.every-channel.netboot";

  inherit (lib) mkOption types;
  inherit (import ./names.nix) name;
  words = types.listOf (types.strMatching "[!-~]+");
  filePath = types.strMatching "/.*";
  inherit (import ./systemd.nix { inherit lib; }) unitName;
  # As MAX_UNITS_LENGTH of ectools/netboot/fleet/build.py has it.
  maxUnitsLength = 512;
  # As ectools/netboot/server/access.py has it.
  minTokenLength = 16;
  # What firmware says of a machine: text of its maker's choice.
  said = types.nullOr (types.strMatching "[ -~]*[!-~][ -~]*");

  system = mkOption {
    type = types.nullOr (types.strMatching "[A-Za-z0-9][A-Za-z0-9._-]{0,254}");
    default = null;
    example = "ec-runner-x86_64-netboot";
    description = "The system of the release that these machines boot. Null means the one for a machine's architecture.";
  };

  release = mkOption {
    type = types.nullOr (types.strMatching "[A-Za-z0-9][A-Za-z0-9._+-]{0,254}");
    default = null;
    example = "boot-v2026.03.02";
    description = ''
      The release that these machines boot: its tag, or its id. It has to be staged, and should be pinned
      (`ectools netboot releases pin`), so that it stays. Null means what `channel` leads to, or the current one.
    '';
  };

  channel = mkOption {
    type = types.nullOr (types.strMatching name);
    default = null;
    example = "canary";
    description = ''
      The channel that leads to the release of these machines (see {option}`${path}.release.channel`), in place of `release`.
      What it leads to is staged beside what is current, from where that comes from. It takes
      {option}`${path}.release.signature`.
    '';
  };

  boot = types.enum [
    "network"
    "disk"
    "hold"
    "install"
  ];

  install = types.submodule {
    options = {
      system = mkOption {
        type = types.nullOr (
          types.strMatching "[A-Za-z0-9][A-Za-z0-9+._?=-]{0,210}|/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,211}"
        );
        default = null;
        example = "ec-runner";
        description = ''
          Which of the installed systems that the release carries (`ectools netboot pack --with-system`): the name of
          its configuration ({option}`system.name`), that of its store path, or the store path. Null means the only one
          for the machine's architecture.
        '';
      };

      disk = {
        id = mkOption {
          type = types.nullOr (types.strMatching "[A-Za-z0-9][A-Za-z0-9._:+=@-]{0,126}");
          default = null;
          example = "nvme-Samsung_SSD_970_EVO_500GB_S466NX0K123456";
          description = "The disk, by its name in {file}`/dev/disk/by-id`.";
        };

        serial = mkOption {
          type = types.nullOr (types.strMatching "[A-Za-z0-9][A-Za-z0-9._:+=-]{0,126}");
          default = null;
          example = "S466NX0K123456";
          description = "The disk, by its serial number, as `lsblk --nodeps --output SERIAL` shows it.";
        };

        minGiB = mkOption {
          type = types.nullOr (types.ints.between 1 1048576);
          default = null;
          example = 100;
          description = ''
            The only disk of at least so many GiB. Where there are several, or none, nothing is installed, and every
            disk stays as it was. Without any of the three it is the only disk that the machine has.
          '';
        };
      };

      erase = mkOption {
        type = types.nullOr types.bool;
        default = null;
        example = true;
        description = ''
          Whether a disk that holds something else may be erased: anything that was not made here, or another node's
          system. Without it a disk has to be empty: its first and its last MiB are zeros and can be read, and nothing is
          known of a partition table or a file system on it. Null means what the group says, and false where it says nothing.
        '';
      };

      hostKeys = mkOption {
        type = types.nullOr (
          types.enum [
            "keep"
            "make"
          ]
        );
        default = null;
        example = "make";
        description = ''
          SSH host keys: `keep` those of the system that was installed here before, where there is one; `make` new ones.
          Null means what the group says, and `keep` where it says nothing.
        '';
      };

      within = mkOption {
        type = types.nullOr (types.ints.between 60 86400);
        default = null;
        example = 7200;
        description = ''
          Seconds from the boot script to the report of the system that was installed. Null means what the group says,
          and 3600 where it says nothing.
        '';
      };
    };
  };

  match = {
    mac = mkOption {
      type = types.listOf (types.strMatching "[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}");
      default = [ ];
      example = [ "02:00:00:12:34:56" ];
      description = "Hardware addresses of its NICs, of which any may be the one that it boots over.";
    };

    uuid = mkOption {
      type = types.nullOr (types.strMatching "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}");
      default = null;
      example = "6f1c2d3e-0000-4000-8000-020000123456";
      description = "Its UUID, as `dmidecode -s system-uuid` shows it.";
    };

    serial = mkOption {
      type = said;
      default = null;
      example = "GEBN1234567A";
      description = "Its serial number, as `dmidecode -s system-serial-number` shows it.";
    };

    asset = mkOption {
      type = said;
      default = null;
      example = "rack-3-07";
      description = "Its asset tag, as `dmidecode -s chassis-asset-tag` shows it.";
    };
  };

  group = types.submodule {
    options = {
      inherit system release channel;

      boot = mkOption {
        type = boot;
        default = "network";
        example = "disk";
        description = ''
          What these machines boot: `network`, the release; `disk`, what their firmware finds next (on BIOS, the first
          disk); `hold`, nothing: they wait, and ask again; `install`, the release, which installs
          {option}`install.system` on their disk, once: from then on they boot from it.
        '';
      };

      install = mkOption {
        type = install;
        default = { };
        example = {
          system = "ec-runner";
          disk.minGiB = 100;
        };
        description = "What these machines install, and where, when they are to.";
      };

      bootBinary = mkOption {
        type = types.nullOr (
          types.enum [
            "ipxe"
            "snponly"
          ]
        );
        default = null;
        example = "snponly";
        description = ''
          Which iPXE for x86-64 UEFI these machines load, where it is another than {option}`${path}.ipxe.binary`. DHCP
          says which, before a machine has said more than its hardware address: it takes
          {option}`${path}.proxyDhcp.enable`, the strategy `autoexec`, and nodes that are known by
          {option}`match.mac`; any other gets what all get. Null means that too.
        '';
      };

      kernelArguments = mkOption {
        type = words;
        default = [ ];
        example = [ "console=ttyS0" ];
        description = "Arguments of the kernel, after those of the release.";
      };

      healthyWithin = mkOption {
        type = types.ints.between 10 86400;
        default = 600;
        example = 1200;
        description = ''
          Seconds in which these machines report that they are up and healthy, from their boot script on. A boot without
          a report by then has failed.
        '';
      };

      slots = mkOption {
        type = types.nullOr (types.ints.between 1 1000);
        default = null;
        example = 2;
        description = ''
          How many of these machines may be away at a time to boot again, of those that ask first: by FleetLock, at
          `/v1/pre-reboot` and `/v1/steady-state` of the boot server's HTTP port, as Zincati does. Who has a slot keeps it
          until it is back and says so. Null means that nobody can ask.
        '';
      };

      healthUnits = mkOption {
        type = types.listOf (types.strMatching unitName);
        default = [ ];
        example = [ "every-channel-node.service" ];
        description = ''
          Units that have to be active before these machines report, beside `boot-complete.target`. A machine that has
          one of them failed is not healthy. They go to it on its kernel's command line, in at most
          ${toString maxUnitsLength} characters.
        '';
      };
    };
  };

  node = types.submodule {
    options = {
      inherit match;

      group = mkOption {
        type = types.nullOr (types.strMatching name);
        default = null;
        example = "runners";
        description = "Its group. Null means none: it boots the current release.";
      };

      boot = mkOption {
        type = types.nullOr boot;
        default = null;
        example = "disk";
        description = "What it boots, in place of its group's.";
      };

      install = mkOption {
        type = install;
        default = { };
        example = {
          disk.serial = "S466NX0K123456";
        };
        description = ''
          What it installs, and where, when it is to. What is said here goes before what its group says; of
          {option}`disk` all of it.
        '';
      };

      kernelArguments = mkOption {
        type = words;
        default = [ ];
        example = [ "isolcpus=3" ];
        description = "Arguments of its kernel, after its group's.";
      };

      hold = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = "Whether it boots nothing, whatever else is said: it waits, and asks again.";
      };
    };
  };
in
{
  options.services.every-channel.netboot.fleet = {
    listen = mkOption {
      type = types.nullOr (types.strMatching "([0-9.]+|\\[[0-9a-fA-F:.]+]):[0-9]{1,5}");
      default = "127.0.0.1:9090";
      example = "192.0.2.10:9090";
      description = ''
        Address and port at which the boot server shows its fleet (a page, and JSON below `/api/v1/`), `/healthz` and
        `/metrics` (for Prometheus), however many clients want something of it: a listener of its own. Who reaches it
        may look, so it should be off the clients' network; the firewall is not opened for it. Where the address cannot
        be had, nodes boot all the same, and a warning says so; a Prometheus on this host has the same port as its default.
        Null means none.
      '';
    };

    allowedHosts = mkOption {
      type = types.listOf (types.strMatching "[*]|[.]?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?");
      default = [ ];
      example = [
        "boot.example.org"
        ".lan.example.org"
      ];
      description = ''
        Names by which {option}`${path}.fleet.listen` is asked for, beside its addresses, `localhost`, names without a
        dot, {option}`${path}.hostname` and the machine's own name; with a dot before it, all names below that one.
        Whoever asks for another name is told so (421): a page of another site can give its name this host's address,
        and would read what is there (DNS rebinding). `*` stands for every name, and takes this defence away.
      '';
    };

    file = mkOption {
      type = types.nullOr filePath;
      default = null;
      example = "/etc/every-channel/fleet.toml";
      description = ''
        A file with {option}`${path}.fleet.unknown`, {option}`${path}.fleet.groups` and {option}`${path}.fleet.nodes`
        (TOML, YAML or JSON), read when the boot server starts and when it is reloaded
        (`systemctl reload every-channel-netboot.service`), so that nodes come without a rebuild. A group or a node
        that is here too is an error. `ectools fleet check` reads it as the boot server does.
      '';
    };

    keepBoots = mkOption {
      type = types.ints.between 1 3650;
      default = 90;
      example = 365;
      # As MAX_BOOTS of ectools/netboot/boots/archive.py and MAX_EVENTS of ectools/netboot/state/interface.py have it.
      description = ''
        Days for which the boots of machines are remembered, of each machine about 200 at most. Its newest one is
        remembered for as long as the fleet knows it. What was done to the fleet (`ectools fleet log`) is remembered
        as long, the last 100,000 of it at most.
      '';
    };

    accessTokenFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/secrets/fleet-token";
      description = ''
        File that holds an access token: who sends it to {option}`${path}.fleet.listen` may hold machines, release them,
        have them boot once, and pause, resume and end a rollout. One line, or two while one token takes over from another, each of at least
        ${toString minTokenLength} characters. The service gets it as a systemd credential; it never enters the Nix
        store, an argument list or a log. Null means that nobody may: what is there can only be looked at.
      '';
    };

    unknown = mkOption {
      type = types.enum [
        "default"
        "hold"
        "refuse"
      ];
      default = "default";
      example = "hold";
      description = ''
        What a machine gets that is none of {option}`${path}.fleet.nodes`: `default`, the current release, the system
        for its architecture; `hold`, nothing: it shows what it is known by, waits, and asks again; `refuse`: it shows
        the same, and leaves its firmware to go on.
      '';
    };

    groups = mkOption {
      type = types.attrsOf group;
      default = { };
      example = {
        runners = {
          system = "ec-runner-x86_64-netboot";
          kernelArguments = [ "console=ttyS0" ];
        };
      };
      description = "What machines have in common, by the groups' names.";
    };

    nodes = mkOption {
      type = types.attrsOf node;
      default = { };
      example = {
        nuc-07 = {
          group = "runners";
          match.mac = [ "02:00:00:12:34:56" ];
        };
      };
      description = ''
        Machines by their names. A node is the machine that has any of its {option}`match`; what two nodes could both
        be known by is an error.
      '';
    };
  };
}
