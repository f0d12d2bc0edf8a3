# The options of ec-netboot.nix, but for those below `fleet` and `ipxe`.
{ lib, ... }:
let
  path = "services.every-channel.netboot";
  protocols = builtins.fromJSON (builtins.readFile ../../ectools/netboot/protocols.json);

  inherit (lib) mkOption types;
  cidr = types.strMatching "[0-9a-fA-F.:]+(/[0-9]{1,3})?";
  subnet = types.strMatching "[0-9]{1,3}([.][0-9]{1,3}){3}/[0-9]{1,2}";
  cidrDescription = "An address stands for itself; IPv4 clients of an IPv6 socket count as IPv4.";
in
{
  options.services.every-channel.netboot = {
    enable = lib.mkEnableOption "staging and serving of network-boot artifacts";

    listenIP = mkOption {
      type = types.strMatching "[0-9]{1,3}([.][0-9]{1,3}){3}";
      example = "192.0.2.10";
      description = ''
        This host's IPv4 address on the clients' network. The boot server listens on it, and DHCP answers name it.
      '';
    };

    interface = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "enp3s0";
      description = ''
        The interface on the clients' network. Null means the one that has {option}`${path}.listenIP`.
      '';
    };

    hostname = mkOption {
      type = types.str;
      default = "boot.every.channel";
      example = "192.0.2.10";
      description = ''
        The name or the address that clients are sent to for the boot script and the files. A name has to be known to
        the DNS server that the clients' DHCP names; an address always works.
      '';
    };

    stateDir = mkOption {
      type = types.str;
      default = "/var/lib/every-channel/netboot";
      example = "/srv/netboot";
      description = ''
        Directory of the staged releases, of the links `current` and `previous`, and of what TFTP serves. It is the
        service's own, and stays when the service is disabled.
      '';
    };

    httpPort = mkOption {
      type = types.port;
      default = 8080;
      example = 80;
      description = "TCP port of the HTTP server.";
    };

    httpAllowedCIDRs = mkOption {
      type = types.listOf cidr;
      default = [ ];
      example = [
        "192.0.2.0/24"
        "2001:db8::/32"
      ];
      description = ''
        Networks whose clients the HTTP server answers. Empty means everyone who reaches the port. ${cidrDescription}
      '';
    };

    trustedProxies = mkOption {
      type = types.listOf cidr;
      default = [ ];
      example = [ "192.0.2.1" ];
      description = ''
        Reverse proxies whose word about a client's address (`Forwarded`, `X-Forwarded-For`) is believed. From anyone
        else these headers mean nothing. ${cidrDescription}
      '';
    };

    chainTokenFile = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "/run/secrets/chain-token";
      description = ''
        File that holds the token which {option}`${path}.protectedFiles` ask for: one line, or two while one token
        takes over from another. Boot scripts send the first; both are accepted. The service gets it as a systemd
        credential; it never enters the Nix store, an argument list or a log. TFTP has no secrets: whoever may fetch the
        first boot script over it learns the token.
      '';
    };

    protectedFiles = mkOption {
      type = types.listOf (types.strMatching "[A-Za-z0-9][A-Za-z0-9._-]*");
      default = [ "netboot.ipxe" ];
      example = [
        "netboot.ipxe"
        "initrd"
      ];
      description = ''
        Files that are given only to who sends the token of {option}`${path}.chainTokenFile`: by their names in a release, or
        in each of its systems where it has several.
      '';
    };

    maxConnections = mkOption {
      type = types.ints.positive;
      default = 1024;
      example = 4096;
      description = "HTTP connections served at once; one more is asked to come again (503 with `Retry-After`).";
    };

    mirrors = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "https://cache.example.org/netboot" ];
      description = ''
        Base URLs that boot scripts try in this order when this server does not answer. Each gives the same paths as
        this server does.
      '';
    };

    tftpBootFilename = mkOption {
      type = types.strMatching "([A-Za-z0-9_][A-Za-z0-9._+-]*/)*[A-Za-z0-9][A-Za-z0-9_-]*[.][A-Za-z0-9._-]+";
      default = protocols.binaries.x86_64.filename;
      example = "x86_64-sb/shimx64.efi";
      description = ''
        Name of the x86-64 UEFI boot binary in the TFTP directory, below directories where wanted: what the router's
        "Network Boot" names. It has a dot, because a PXE server adds `.0` to a name without one.
      '';
    };

    tftp.maxTransfers = mkOption {
      type = types.ints.positive;
      default = 4096;
      example = 8192;
      description = ''
        TFTP transfers at once; further reads wait until one ends. One address gets an eighth of them, but at least 32,
        so that a client that reads and says nothing more shuts nobody out.
      '';
    };

    tftp.receiveBuffer = mkOption {
      type = types.nullOr types.ints.positive;
      default = 8388608;
      example = 16777216;
      description = ''
        Bytes of requests that wait for TFTP at a time, about 2,000 for each machine that asks at the same moment; one that
        does not fit is dropped, and asks again after seconds. It is the sysctl `net.core.rmem_default`, which the module
        sets unless something else does, and which is a bound for every socket of this host that names none itself. Null
        leaves it as it is: Linux's own has room for about 256 requests.
      '';
    };

    maxNeighbours = mkOption {
      type = types.nullOr types.ints.positive;
      default = 8192;
      example = 32768;
      description = ''
        Machines of its networks that this host may know the hardware addresses of: one more can be sent nothing. It is the
        sysctl `net.ipv4.neigh.default.gc_thresh3`, which the module sets unless something else does, with `gc_thresh2` at
        half of what it is in the end. Null leaves them as they are: Linux's own are 1024 and 512, for all interfaces and
        containers together.
      '';
    };

    openFirewall = mkOption {
      type = types.bool;
      default = true;
      description = "Open the ports of the services that are enabled, on {option}`${path}.interface` where it is set.";
    };

    proxyDhcp = {
      enable = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Answer PXE clients beside the network's DHCP server (ProxyDHCP). Without it, the network's DHCP server has to
          name this host and {option}`${path}.tftpBootFilename`: with UniFi, by its "Network Boot".
        '';
      };

      subnet = mkOption {
        type = types.nullOr subnet;
        default = null;
        example = "192.0.2.0/24";
        description = ''
          The clients' network, whose requests ProxyDHCP answers: the one that {option}`${path}.listenIP` is in.
        '';
      };

      subnets = mkOption {
        type = types.listOf subnet;
        default = [ ];
        example = [ "198.51.100.0/24" ];
        description = ''
          Further networks, whose clients reach this host through a DHCP relay: a router's "IP helper" that names this
          host beside the DHCP server. Requests from a network that is not listed are not answered. No two of them, nor
          one and {option}`${path}.proxyDhcp.subnet`, may overlap.
        '';
      };
    };

    release = {
      host = mkOption {
        type = types.strMatching "https?://[^ /?#@]+(/[^ ?#]*)?";
        default = "https://git.every.channel";
        example = "https://forge.example.org";
        description = "The Forgejo or Gitea that publishes the releases, or `https://github.com`.";
      };

      repo = mkOption {
        type = types.strMatching "[A-Za-z0-9._-]+/[A-Za-z0-9._-]+";
        default = "every-channel/every.channel";
        example = "media/boot-images";
        description = "The repository, as owner and name.";
      };

      source = mkOption {
        type = types.nullOr (
          types.strMatching "(file:)?/.+|https?://[^ ?#@]+|s3://[^ #]+|oci(\\+http)?://[^ ?#@]+|(forge|github):https?://[^ ?#@]+"
        );
        default = null;
        example = "s3://boot/releases?endpoint=https://s3.example.org&region=garage";
        description = ''
          Where releases are published, in place of {option}`${path}.release.host`: a directory (`file:/srv/releases`), a web
          server's (`https://HOST/PATH`), a bucket of a store that speaks S3, written as Nix writes it, a repository of a
          container registry (`oci://HOST/NAME`, or `oci://HOST/NAME:TAG`; `oci+http://` where it is not encrypted), or
          `forge:https://HOST/OWNER/NAME`, which is a Forgejo, a Gitea or github.com (`github:https://HOST/OWNER/NAME` is a
          GitHub Enterprise Server). What is not a forge says of no release that it
          is the latest: {option}`${path}.release.channel` or {option}`${path}.release.tag` names it. `ectools netboot publish`
          puts releases there.
        '';
      };

      channel = mkOption {
        type = types.nullOr (types.strMatching (import ./names.nix).name);
        default = null;
        example = "stable";
        description = ''
          The channel that is followed: a signed pointer to a release, beside the releases, which
          `ectools netboot promote` moves. It takes {option}`${path}.release.signature`. This host keeps the highest counter
          that it has seen of it, and refuses a pointer with less: an old release, which was signed once, cannot be shown
          as the newest. Null means none: the release of {option}`${path}.release.tag`, or a forge's latest.
        '';
      };

      credentialsFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/run/secrets/store-credentials";
        description = ''
          File with the access key of an S3 store, as Amazon's programs read it: `[default]`, `aws_access_key_id = …` and
          `aws_secret_access_key = …`; or with the login of a registry, as docker and podman write it (`config.json`,
          `podman login --authfile FILE`). The service gets it as a systemd credential. Null means that the place is public.
        '';
      };

      tag = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "boot-v2026.03.02";
        description = "The release's tag. Null means the latest release.";
      };

      tarball = mkOption {
        type = types.nullOr (types.either types.str (types.nonEmptyListOf types.str));
        default = null;
        example = "/srv/releases/ec-runner-x86_64-netboot-boot-v2026.03.02.tar.gz";
        description = ''
          A local tarball, in place of a release; or several, one a system, which are staged as one release.
        '';
      };

      tokenFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/run/secrets/forge-token";
        description = ''
          File that holds an access token for a private repository, or for the web server of
          {option}`${path}.release.source`. It is sent to that host only. The service gets it as a systemd credential.
        '';
      };

      caFile = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "/etc/ssl/private-ca.pem";
        description = ''
          The certificate of a private CA (PEM) that is trusted for {option}`${path}.release.host` and where it redirects
          to, beside those that the system trusts.
        '';
      };

      artifact = mkOption {
        type = types.str;
        default = "ec-runner-x86_64-netboot-*.tar.*";
        example = "ec-publisher-x86_64-netboot-*.tar.zst";
        description = ''
          Name of the release's archive, with `*` and `?` as in a shell. Exactly one file must match. Where
          {option}`${path}.ipxe.arm64File` lets ARM64 machines in, the archive that is called the same with `aarch64` in
          place of `x86_64` is staged too, if the release has it.
        '';
      };

      systems = mkOption {
        type = types.listOf (types.strMatching "[A-Za-z0-9][A-Za-z0-9._-]{0,254}");
        default = [ ];
        example = [
          "ec-runner-x86_64-netboot"
          "ec-runner-aarch64-netboot"
        ];
        description = ''
          The systems of a release that are staged, each named as its archive is, without tag and suffix. The release
          must have all of them. A machine gets the first one that is for its architecture. Empty means what
          {option}`${path}.release.artifact` or {option}`${path}.release.tarball` says.
        '';
      };

      requireSums = mkOption {
        type = types.bool;
        default = false;
        description = ''
          Refuse a release that publishes no `SHA256SUMS.txt`, nor its sums under another usual name (`SHA256SUMS`,
          `checksums.txt`, `ARCHIVE.sha256`). A sum that is published and does not match is always refused.
        '';
      };

      signature = {
        format = mkOption {
          type = types.nullOr (
            types.enum [
              "minisign"
              "openssh"
              "openssl"
            ]
          );
          default = null;
          description = ''
            How the release's `SHA256SUMS.txt` is signed: `minisign` (`SHA256SUMS.txt.minisig`), `openssh`
            (`SHA256SUMS.txt.sig`, by `ssh-keygen -Y sign -n file`) or `openssl` (`SHA256SUMS.txt.sig`, detached, by
            `openssl dgst -sha256 -sign`). Null means that no signature is looked at.
          '';
        };

        publicKeyFile = mkOption {
          type = types.nullOr types.str;
          default = null;
          example = "/etc/every-channel/release-key.pub";
          description = ''
            The public key that releases must be signed with, as its tool writes it. It is no secret. While it is set, a
            release that is not signed by it is not staged, nor one that is signed as older than the current one, unless
            {option}`${path}.release.tag` or {option}`${path}.release.tarball` names it.
          '';
        };
      };

      keep = mkOption {
        type = types.ints.unsigned;
        default = 3;
        example = 10;
        description = ''
          How many releases stay beside the current and the previous one. A release that is pinned, a
          rollout's, a channel's or being served is never removed.
        '';
      };

      maxUnpackedMiB = mkOption {
        type = types.ints.positive;
        default = 8192;
        example = 16384;
        description = "How large a release may be once it is unpacked, all its systems together, in MiB.";
      };

      maxFiles = mkOption {
        type = types.ints.positive;
        default = 10000;
        example = 50000;
        description = "How many files and directories a release may hold, all its systems together.";
      };

      refresh = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "daily";
        description = ''
          When to look for a newer release, as systemd.time(7) writes calendar events. Null means at boot, when the system
          is switched to another configuration, and by `systemctl start every-channel-netboot-stage`; a calendar event
          comes on top of these. No boot and no switch waits for the download; `systemctl start` does, and fails where the
          first attempt does.
        '';
      };
    };
  };
}
