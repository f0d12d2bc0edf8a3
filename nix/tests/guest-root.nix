# What a guest boots whose init says `mark` on its console: kernel, initrd and boot script.
{
  pkgs,
  demoPayload,
  mark,
}:
# Copies: the boot server follows no link out of its root.
pkgs.runCommand "netboot-root" { } ''
  mkdir $out
  cp ${demoPayload}/kernel ${demoPayload}/initrd $out
  cat > $out/netboot.ipxe <<'SCRIPT'
  #!ipxe
  kernel kernel console=ttyS0 panic=-1 initrd=initrd ec.mark=${mark}
  initrd initrd
  boot
  SCRIPT
''
