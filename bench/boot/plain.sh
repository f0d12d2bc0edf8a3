#!/bin/sh
# The same boot as operators write it by hand: a web server in the background, and QEMU. No supervision.
# Usage: plain.sh DIRECTORY PORT ACCELERATOR CPU; DIRECTORY/root is served.
set -e
cd "$1"
mkdir -p tftp
cat >tftp/boot.ipxe <<IPXE
#!ipxe
dhcp
set dns 1.1.1.1
chain http://10.0.2.2:$2/netboot.ipxe
shell
IPXE
[ -e disk.qcow2 ] || qemu-img create -q -f qcow2 disk.qcow2 64M
python3 -m http.server --bind 127.0.0.1 --directory root "$2" >/dev/null 2>&1 &
trap 'kill $!' EXIT
qemu-system-x86_64 -machine "q35,accel=$3" -cpu "$4" -smp 1 -m 256M -nographic -boot order=n \
  -object rng-builtin,id=rng0 -device virtio-rng-pci,rng=rng0 \
  -netdev user,id=boot0,tftp=tftp,bootfile=boot.ipxe -device virtio-net-pci,netdev=boot0 \
  -drive file=disk.qcow2,if=virtio
