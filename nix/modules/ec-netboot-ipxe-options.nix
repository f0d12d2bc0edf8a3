# The options of ec-netboot.nix below `ipxe`.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.netboot;
  path = "services.every-channel.netboot";
  inherit (import ./build-tools.nix { inherit config pkgs; }) tools;

  # Only what the script is made of, so that no other change builds iPXE again.
  embeddedScript = pkgs.runCommand "every-channel-autoexec.ipxe" { } ''
    ${lib.getExe tools} netboot ipxe --print autoexec --config ${
      (pkgs.formats.json { }).generate "autoexec-settings.json" {
        inherit (cfg) hostname httpPort mirrors;
        ipxe = { inherit (cfg.ipxe) attempts onFailure rebootSeconds; };
      }
    } > $out
  '';

  # What a host of another platform has taken for UEFI clients need have nothing for BIOS.
  isOwnPackage = options.services.every-channel.netboot.ipxe.package.highestPrio < (lib.mkOptionDefault null).priority;
  hasBiosFile = pkgs.stdenv.hostPlatform.isx86_64 || !isOwnPackage;

  inherit (lib) mkOption types;
  filePath = types.strMatching "/.*";
in
{
  options.services.every-channel.netboot.ipxe = {
    strategy = mkOption {
      type = types.enum [
        "autoexec"
        "embedded"
        "local"
        "remote"
      ];
      default = "autoexec";
      description = ''
        Where the x86-64 UEFI boot binary comes from. `autoexec`: the stock one of {option}`${path}.ipxe.package`, which
        runs the `autoexec.ipxe` that is written beside it. `embedded`: one with the script inside, built by Nix.
        `local`: {option}`${path}.ipxe.localFile`. `remote`: {option}`${path}.ipxe.remoteUrl`, downloaded once and
        checked.
      '';
    };

    package = mkOption {
      type = types.package;
      # nixpkgs' syslinux keeps pkgsCross.gnu64.ipxe from being evaluated anywhere else.
      default =
        if pkgs.stdenv.hostPlatform.isx86_64 then
          pkgs.ipxe
        else
          (import pkgs.path {
            system = "x86_64-linux";
            config = { };
            overlays = [ ];
          }).ipxe;
      defaultText = lib.literalExpression "pkgs.ipxe";
      example = lib.literalExpression ''pkgs.ipxe.override { additionalOptions = [ "NSLOOKUP_CMD" ]; }'';
      description = ''
        The stock iPXE: `ipxe.efi`, `snp.efi` and `undionly.kpxe`. It has to be newer than January 2022, because older ones do not
        look for `autoexec.ipxe`. On a host of another platform it is that of nixpkgs for x86-64, because the clients are;
        a binary cache has it. One that is built, as for the strategy `embedded`, takes a builder for x86_64-linux there.
      '';
    };

    binary = mkOption {
      type = types.enum [
        "ipxe"
        "snponly"
      ];
      default = "ipxe";
      description = ''
        Which iPXE for x86-64 UEFI of {option}`${path}.ipxe.package` is served by the strategies `autoexec` and `embedded`. `ipxe`
        has drivers of its own, and goes through all NICs of a machine. `snponly` has none and uses the firmware's: it is
        less than a third as large, which is what counts where many machines load it at a time, and gets along with NICs
        that iPXE's drivers do not. `snponly.efi` knows the one NIC that the machine booted from; where the package has
        none, `snp.efi` is taken, which knows all that the firmware does.
      '';
    };

    localFile = mkOption {
      type = types.nullOr filePath;
      default = null;
      example = "/srv/ipxe/snponly.efi";
      description = "The boot binary of the strategy `local`.";
    };

    embeddedFile = mkOption {
      type = types.nullOr types.str;
      default =
        if cfg.ipxe.strategy == "embedded" then
          "${cfg.ipxe.package.override { embedScript = embeddedScript; }}/${
            # nixpkgs builds no snponly.efi.
            if cfg.ipxe.binary == "snponly" then "snp.efi" else "ipxe.efi"
          }"
        else
          null;
      defaultText = lib.literalMD "the {option}`${path}.ipxe.binary` with the boot script inside, built by Nix; null for other strategies";
      example = "/srv/ipxe/embedded.efi";
      description = "The boot binary of the strategy `embedded`, with the boot script inside.";
    };

    remoteUrl = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "https://boot.example.org/ipxe.efi";
      description = "Where the boot binary of the strategy `remote` is downloaded from.";
    };

    remoteSha256 = mkOption {
      type = types.nullOr (types.strMatching "[0-9a-fA-F]{64}");
      default = null;
      example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
      description = "SHA-256 of the boot binary of the strategy `remote`, in hexadecimal.";
    };

    remoteCaFile = mkOption {
      type = types.nullOr filePath;
      default = null;
      example = "/etc/ssl/private-ca.pem";
      description = ''
        The certificate of a private CA (PEM) that is trusted for {option}`${path}.ipxe.remoteUrl`, beside those that the
        system trusts.
      '';
    };

    biosFile = mkOption {
      type = types.nullOr filePath;
      default = if hasBiosFile then "${cfg.ipxe.package}/undionly.kpxe" else null;
      defaultText = lib.literalExpression ''"''${ipxe.package}/undionly.kpxe"'';
      example = "/srv/ipxe/undionly.kpxe";
      description = ''
        The boot binary for BIOS clients, which only ProxyDHCP can serve beside UEFI ones. Null: they are not served.
        On a host of another platform that is so where {option}`${path}.ipxe.package` is set and this is not. Outside
        NixOS, where neither it nor {option}`${path}.ipxe.package` is set, the distribution's is taken.
      '';
    };

    ia32File = mkOption {
      type = types.nullOr filePath;
      default = null;
      example = "/srv/ipxe/ipxe-ia32.efi";
      description = "The boot binary for 32-bit x86 UEFI clients. Null: they are not served.";
    };

    arm64File = mkOption {
      type = types.nullOr filePath;
      default = null;
      example = "/srv/ipxe/ipxe-arm64.efi";
      description = ''
        The boot binary for 64-bit ARM UEFI clients. Null: they are not served; outside NixOS, where
        {option}`${path}.ipxe.package` is not set either, the distribution's is taken.
      '';
    };

    force = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Serve a boot binary that has no boot script inside and does not look for `autoexec.ipxe`, though without ProxyDHCP
        it is given nothing but itself, and loads itself for ever. For networks whose DHCP server tells an iPXE the
        script's address.
      '';
    };

    extraFiles = mkOption {
      type = types.attrsOf filePath;
      default = { };
      example = {
        "x86_64-sb/grubx64.efi" = "/srv/boot/grubnetx64.efi.signed";
        "grub/grub.cfg" = "/srv/boot/grub.cfg";
      };
      description = ''
        Further files that TFTP and HTTP serve, for chains of several loaders: their name in the TFTP directory, below
        directories where wanted, and where they are. They may have 64 MiB together. A shim loads its second stage from
        the directory that it was loaded from itself: with {option}`${path}.tftpBootFilename` "x86_64-sb/shimx64.efi"
        and Debian's shim as {option}`${path}.ipxe.localFile`, `x86_64-sb/grubx64.efi`.
      '';
    };

    verify = mkOption {
      type = types.bool;
      default = true;
      description = ''
        Check the SHA-256 of kernel and initrd on the client, where its iPXE can. A client whose iPXE cannot says so and
        boots.
      '';
    };

    attempts = mkOption {
      type = types.ints.positive;
      default = 5;
      example = 20;
      description = "How often a boot script tries all sources of a file before it gives up, with growing pauses.";
    };

    onFailure = mkOption {
      type = types.enum [
        "shell"
        "reboot"
      ];
      default = "shell";
      description = "What a client does when nothing could be booted: an iPXE shell, or a reboot to try again.";
    };

    rebootSeconds = mkOption {
      type = types.ints.unsigned;
      default = 30;
      example = 300;
      description = "How long the error stays on the screen before a reboot.";
    };
  };
}
