# The Nix store of a system that boots over the network: in its initrd, or fetched by its stage 1.
{
  config,
  lib,
  options,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.every-channel.runner;
  path = "services.every-channel.runner.store";
  isNetboot = options ? netboot.storeContents;
  enabled = cfg.store == "http";
  hasCache = cfg.storeCache != null;

  image = config.system.build.squashfsStore;
  directory = "/run/every-channel/store";
  sums = "/every-channel-store.sums";
  chunks = "/every-channel-store.chunks";
  # Small enough for a slow line to bring one in time, large enough that looking at each costs little.
  pieceBytes = 2 * 1024 * 1024;

  busybox = lib.getExe' pkgs.busybox "busybox";
  script = pkgs.writeShellScript "every-channel-fetch-store" (
    lib.concatMapStrings builtins.readFile [
      ./node/arguments.sh
      ./store-cache.sh
      ./fetch-store.sh
    ]
  );
  mount = "${utils.escapeSystemdPath "/sysroot/nix/.ro-store"}.mount";
in
{
  options.services.every-channel.runner.store = lib.mkOption {
    type = lib.types.enum [
      "initrd"
      "http"
    ];
    default = "initrd";
    example = "http";
    description = ''
      Where a system that boots over the network has its Nix store from. `initrd`: the image of it is a part of the
      initrd, which iPXE loads as a whole. `http`: the initrd is small, and stage 1 fetches the image over HTTP from where
      `netboot.ipxe` came from, a piece at a time, each checked against its SHA-256 in the initrd. So the image is in memory
      once, may be larger than 4 GiB, and a connection that breaks costs one piece of it.

      It takes a stage 1 with systemd, with drivers of the machines' network cards
      ({option}`services.every-channel.report.initrd.kernelModules`), and an address by DHCP. It is about systems with
      nixpkgs' {file}`installer/netboot/netboot.nix` alone, and about those without the runner profile too
      ({option}`services.every-channel.runner.enable`), such as the publisher's.
    '';
  };

  config = lib.mkIf enabled (
    lib.mkMerge [
      {
        assertions = [
          {
            assertion = isNetboot;
            message = "${path} is about systems that boot over the network: import nixpkgs' installer/netboot/netboot.nix, or leave it out";
          }
          {
            assertion = config.boot.initrd.systemd.enable;
            message = ''${path} = "http" needs a stage 1 with systemd: set boot.initrd.systemd.enable'';
          }
        ];

        # Where that is not so, the two above say what to do, and nobody else anything.
        boot.initrd = lib.mkIf (isNetboot && config.boot.initrd.systemd.enable) {
          availableKernelModules = [
            "af_packet"
          ]
          ++ config.services.every-channel.report.initrd.kernelModules;

          systemd = {
            storePaths = [
              busybox
              "${script}"
            ];

            network = {
              enable = true;
              # A card of the machine's, whichever it is. By its address a DHCP server gives stage 2 the same one again.
              networks."90-every-channel-store" = {
                matchConfig = {
                  Type = "ether";
                  Kind = "!*";
                };
                networkConfig.DHCP = "yes";
                dhcpV4Config.ClientIdentifier = "mac";
                linkConfig.RequiredForOnline = false;
              };
            };

            services.every-channel-store = {
              description = "The Nix store's image from the boot server";
              requiredBy = [ mount ];
              before = [ mount ];
              wants = [ "systemd-networkd.service" ];
              after = [ "systemd-networkd.service" ];
              unitConfig.DefaultDependencies = false;
              serviceConfig = {
                Type = "oneshot";
                RemainAfterExit = true;
                ExecStart = "${script}";
                TimeoutStartSec = "infinity";
                StandardOutput = "journal+console";
                SyslogIdentifier = "every-channel-store";
              };
              environment = {
                BUSYBOX = busybox;
                CMDLINE = "/proc/cmdline";
                MEMINFO = "/proc/meminfo";
                SUMS = sums;
                CHUNKS = chunks;
                CACHE = lib.optionalString hasCache cfg.storeCache;
                SYN_RETRIES = "/proc/sys/net/ipv4/tcp_syn_retries";
                DIRECTORY = directory;
              };
            };
          };
        };
      }
      (lib.optionalAttrs isNetboot {
        # As nixpkgs defines it, or this definition would count for less.
        fileSystems."/nix/.ro-store" = lib.mkImageMediaOverride {
          device = lib.mkForce (if hasCache then "${directory}/device" else "${directory}/image");
        };

        system.build = {
          # Of a file of its own: the image cannot be in what it is made from.
          storeSums =
            pkgs.runCommand "${config.system.name}-store.sums"
              {
                meta.description = "Size and SHA-256 of each piece of a Nix store's image";
              }
              ''
                size=$(stat -c %s ${image})
                echo "$size ${toString pieceBytes}" > $out
                offset=0
                while [ "$offset" -lt "$size" ]; do
                  dd if=${image} bs=${toString pieceBytes} skip=$((offset / ${toString pieceBytes})) count=1 status=none \
                    | sha256sum | cut -d ' ' -f 1 >> $out
                  offset=$((offset + ${toString pieceBytes}))
                done
              '';

          netbootRamdisk = lib.mkForce (
            pkgs.makeInitrdNG {
              inherit (config.boot.initrd) compressor;
              prepend = [ "${config.system.build.initialRamdisk}/initrd" ];
              contents = [
                {
                  source = config.system.build.storeSums;
                  target = sums;
                }
              ]
              ++ lib.optional hasCache {
                source = config.system.build.storeChunks;
                target = chunks;
              };
            }
          );
        };
      })
    ]
  );
}
