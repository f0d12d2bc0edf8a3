"""Small systems for machines that go from one to the next, with what NixOS does to their boot menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.disk_lab import build_installable

if TYPE_CHECKING:
    from pathlib import Path

    from support.disk_lab import Installable

_SYSTEM = """
{ version, busybox, size }:
derivation {
  name = "nixos-system-test-${version}";
  system = builtins.currentSystem;
  busybox = builtins.path { path = busybox; name = "busybox"; };
  builder = "/bin/sh";
  args = [ "-c" ''
    PATH=/bin:/usr/bin
    mkdir -p $out/bin $out/kernel-of-${version}
    cp $busybox $out/bin/busybox
    ln -s busybox $out/bin/sh
    head -c 1000000 /dev/urandom > $out/kernel-of-${version}/bzImage
    head -c 2000000 /dev/urandom > $out/kernel-of-${version}/initrd
    head -c ${size} /dev/urandom > $out/content
    ln -s $out/kernel-of-${version}/bzImage $out/kernel
    ln -s $out/kernel-of-${version}/initrd $out/initrd
    echo quiet > $out/kernel-params
    echo ${version} > $out/nixos-version
    echo x86_64-linux > $out/system
    echo '{"org.nixos.systemd-boot": {"sortKey": "nixos"}}' > $out/boot.json
    if test ${version} = 2; then
      echo a device tree > $out/board.dtb
      cat > $out/boot.json <<EOF
    {"org.nixos.systemd-boot": {"devicetree": "$out/board.dtb"}}
    EOF
    fi
    { echo "#!$out/bin/busybox sh"; cat $programPath; } > $out/bin/switch-to-configuration
    chmod 0755 $out/bin/switch-to-configuration
  '' ];
  program = builtins.readFile ./switch;
  passAsFile = [ "program" ];
}
"""
# As systemd-boot-builder.py has it: an entry a generation, and no kernel that none names; no machine id
# before the first boot, and what a power cut has left of it ends it. Newer ones name entries by what is in
# them (`hashed` on the ESP).
_SWITCH = """
set -e
test "$1" = boot
entries=$FOLLOW_ESP/loader/entries kernels=$FOLLOW_ESP/EFI/nixos
mkdir -p $entries $kernels
wanted=
profiles=/nix/var/nix/profiles
for link in $profiles/system-*-link; do
  number=${link##*/system-} number=${number%-link}
  system=$(readlink $link)
  name=nixos-generation-$number
  if test -e $FOLLOW_ESP/hashed; then name=$(echo $number $system | sha256sum) name=nixos-${name%% *}; fi
  entry=$entries/$name.conf
  if test $link = $profiles/$(readlink $profiles/system); then default=$name.conf; fi
  wanted="$wanted $entry"
  for kind in kernel initrd; do
    file=$(readlink $system/$kind)
    name=$(echo ${file#/nix/store/} | tr / -).efi
    wanted="$wanted $kernels/$name"
    test -e $kernels/$name || cp $file $kernels/$name
    eval $kind=$name
  done
  {
    echo title NixOS
    echo version Generation $number $(cat $system/nixos-version)
    echo linux /EFI/nixos/$kernel
    echo initrd /EFI/nixos/$initrd
    echo options init=$system/init quiet
    echo sort-key nixos
    if test -z "$FIRST"; then echo machine-id 0123456789abcdef0123456789abcdef; fi
  } > $entry.tmp
  mv $entry.tmp $entry
done
for file in $entries/nixos-*.conf $kernels/*; do
  case "$wanted " in *" $file "*) continue ;; esac
  case $file in *.next*.conf | *+*.conf) ;; *) rm -f $file ;; esac
done
set -C
if test -e $FOLLOW_ESP/hashed; then word=preferred; else word=default; fi
echo $word $default > $FOLLOW_ESP/loader/loader.tmp
mv $FOLLOW_ESP/loader/loader.tmp $FOLLOW_ESP/loader/loader.conf
"""


def build_system(directory: Path, version: str, *, size: int = 3_000_000, key: str = "key") -> Installable:
    """A system of that version with so many bytes of content, in a release of its own, signed by ``key``."""
    directory.mkdir(parents=True, exist_ok=True)
    expression = directory / "system.nix"
    expression.write_text(_SYSTEM)
    (directory / "switch").write_text(_SWITCH)
    return build_installable(expression, version, kernel=version.encode(), key=key, size=str(size))
