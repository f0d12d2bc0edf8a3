#!/bin/sh
# The floor: QEMU loads kernel and initramfs itself. No firmware's network boot, no iPXE, no HTTP.
# Usage: floor.sh DIRECTORY ACCELERATOR CPU CMDLINE
set -e
cd "$1"
exec qemu-system-x86_64 -machine "q35,accel=$2" -cpu "$3" -smp 1 -m 256M -nographic \
  -object rng-builtin,id=rng0 -device virtio-rng-pci,rng=rng0 \
  -netdev user,id=boot0 -device virtio-net-pci,netdev=boot0,romfile= \
  -kernel root/kernel -initrd root/initrd -append "console=ttyS0 panic=-1 $4"
