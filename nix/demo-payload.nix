# What the demo's guest boots, on NixOS: a kernel, and an initramfs with busybox and the same init as elsewhere
# (ectools/demo/payload.py makes it from Debian's packages).
{
  lib,
  linuxPackages,
  makeModulesClosure,
  pkgsStatic,
  runCommand,
  stdenv,
  cpio,
  gzip,
  xz,
  zstd,
}:
let
  inherit (linuxPackages) kernel;
  busybox = pkgsStatic.busybox;

  # In the order in which the guest loads them; a kernel has some of them built in.
  modules = [
    "virtio_pci"
    "virtio_net"
    "e1000"
    "e1000e"
    "evdev"
    "button"
  ];
  closure = makeModulesClosure {
    rootModules = modules;
    inherit kernel;
    firmware = null;
    allowMissing = true;
  };
in
runCommand "every-channel-demo-payload"
  {
    nativeBuildInputs = [
      cpio
      gzip
      xz
      zstd
    ];
    meta.description = "Kernel and initramfs for ectools demo";
    meta.platforms = lib.platforms.linux;
  }
  ''
    mkdir -p $out tree/{bin,modules,etc/acpi/PWRF}
    cp ${kernel}/${stdenv.hostPlatform.linux-kernel.target} $out/kernel
    cp ${busybox}/bin/busybox tree/bin/busybox
    cp ${../ectools/demo/init.sh} tree/init
    cp ${../ectools/demo/lease.sh} tree/bin/lease
    printf '#!/bin/busybox sh\nexec poweroff -f\n' > tree/etc/acpi/PWRF/00000080
    # modules.dep names, for each module, what must be loaded before it, the last first.
    order() {
      awk -F: -v root="$1" '$1 ~ "/" root "\\.ko" { print $1; n = split($2, deps, " "); for (i = 1; i <= n; i++) print deps[i] }' \
        ${closure}/lib/modules/*/modules.dep | tac
    }
    for module in ${toString modules}; do
      for file in $(order $module); do
        name=$(basename "$file" | sed 's/\.ko.*/.ko/')
        [ -e tree/modules/$name ] && continue
        case $file in
          *.xz) xz -dc ${closure}/lib/modules/*/"$file" ;;
          *.zst) zstd -dc ${closure}/lib/modules/*/"$file" ;;
          *) cat ${closure}/lib/modules/*/"$file" ;;
        esac > tree/modules/$name
        echo $name >> tree/modules/order
      done
    done
    touch tree/modules/order
    chmod +x tree/init tree/bin/* tree/etc/acpi/PWRF/*
    (cd tree && find . -mindepth 1 | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet | gzip -n > $out/initrd)
  ''
