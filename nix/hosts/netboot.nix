# A system that boots over the network: system.build.netboot is one directory with `kernel`, `initrd` and `netboot.ipxe`,
# `store.squashfs` where stage 1 is to fetch it, and `closure.txt`, the store paths of the system, for
# `ectools verify-closure`.
{
  config,
  lib,
  modulesPath,
  options,
  pkgs,
  ...
}:
let
  inherit (config.system.build)
    initialRamdisk
    kernel
    netbootIpxeScript
    netbootRamdisk
    squashfsStore
    toplevel
    ;

  # Whatever is served beside the script that iPXE runs, or where a boot server says in its own script.
  fetchesStore = config.services.every-channel.runner.store == "http";
  storeArgument = lib.optionalString fetchesStore "every_channel.store=\${cwuri} ";

  closure = pkgs.closureInfo { rootPaths = [ toplevel ]; };
in
{
  imports = [
    "${modulesPath}/installer/netboot/netboot.nix"
    ./volatile-host-keys.nix
  ];

  # The kernel and stage 1 stand beside the store, and are in it no second time. Nothing can be started with them there:
  # that stage 1 has no store to go on to.
  system.systemBuilderCommands = lib.mkAfter "rm -f $out/{append-initrd-secrets,initrd,kernel}";
  boot = {
    # Written after that, and read by nixos-init in stage 1. It has to name a kernel.
    bootspec.writer = ''
      ${options.boot.bootspec.writer.default}
      ${lib.getExe pkgs.buildPackages.jq} --sort-keys \
        '."org.nixos.bootspec.v1" |= (del(.initrd, .initrdSecrets) | .kernel = "/kernel")' \
        $out/${config.boot.bootspec.filename} > bootspec
      mv bootspec $out/${config.boot.bootspec.filename}
    '';
  }
  // lib.optionalAttrs (options ? boot.kexec.enable) { kexec.enable = lib.mkDefault false; }
  # `system.build.uki`: the same as one EFI program. nixpkgs's default is the stage 1 alone, which has no store to go on to.
  // lib.optionalAttrs (options ? boot.uki) {
    uki.settings.UKI.Initrd = lib.mkDefault "${netbootRamdisk}/initrd";
  };

  hardware.enableRedistributableFirmware = lib.mkDefault true;

  # What ends in stage 1 is told from what never started: 2 MiB of the initrd.
  services.every-channel.report.initrd.enable = lib.mkDefault config.boot.initrd.systemd.enable;

  # It installs itself where its boot server says so, and there is a Nix to do so.
  services.every-channel.install.enable = lib.mkDefault (
    config.services.every-channel.runner.enable && config.nix.enable
  );

  # As in nixpkgs, but that the store's image is there by the name under which stage 1 mounts it, and not by a link to its
  # store path: that path in the initrd is a reference, and whatever had the initrd had the image a second time. It is packed
  # already, so that its archive is not.
  system.build.netbootRamdisk = lib.mkIf (!fetchesStore) (
    lib.mkForce (
      pkgs.runCommand "initrd" { nativeBuildInputs = [ pkgs.buildPackages.cpio ]; } ''
        mkdir $out
        cp --no-preserve=mode ${initialRamdisk}/initrd $out/initrd
        # Where an archive begins that is not packed, the kernel wants a multiple of four bytes.
        truncate --size=%4 $out/initrd
        ln --symbolic ${squashfsStore} nix-store.squashfs
        echo nix-store.squashfs \
          | cpio --create --quiet --format=newc --owner=+0:+0 --reproducible --dereference >> $out/initrd
      ''
    )
  );

  # As in nixpkgs, but for the kernel's name: files are known by the names that they have in a release.
  system.build.netbootIpxeScript = lib.mkForce (
    pkgs.writeTextDir "netboot.ipxe" ''
      #!ipxe
      kernel kernel init=${toplevel}/init initrd=initrd ${storeArgument}${toString config.boot.kernelParams} ''${cmdline}
      initrd initrd
      boot
    ''
  );

  system.build.netboot =
    pkgs.runCommand "${config.system.name}-netboot"
      {
        meta.description = "Kernel, initrd and iPXE script of ${config.system.name}";
      }
      ''
        ${
          if fetchesStore then
            "install -D -m 0444 ${squashfsStore} $out/store.squashfs"
          else
            "bash ${./refuse-oversized.sh} ${squashfsStore} && mkdir $out"
        }
        # Copies: not every server follows a link out of its root.
        cp ${kernel}/${config.system.boot.loader.kernelFile} $out/kernel
        cp ${netbootRamdisk}/initrd $out/initrd
        cp ${netbootIpxeScript}/netboot.ipxe $out/netboot.ipxe
        LC_ALL=C sort ${closure}/store-paths > $out/closure.txt
      '';
}
