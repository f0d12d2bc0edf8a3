# The folders of ec-ipxe-qemu.nix: which ones can be used, and the tmpfiles rules that make them.
{
  cfg,
  lib,
  path,
  unit,
}:
let
  folders = import ./folders.nix {
    inherit lib path;
    user = unit;
  };
in
{
  assertions =
    folders.refuseHidden {
      inherit (cfg) stateDir;
      "boot.http.root" = if cfg.boot.http.enable then cfg.boot.http.root else null;
      "boot.userNet.bootFile" = cfg.boot.userNet.bootFile;
      "boot.userNet.tftpDir" = cfg.boot.userNet.tftpDir;
      "disk.path" = cfg.disk.path;
    }
    ++ folders.refuseShared "the guest's" {
      inherit (cfg) stateDir;
      "boot.userNet.tftpDir" = cfg.boot.userNet.tftpDir;
    };

  rules = folders.rules [
    (folders.ownTree cfg.stateDir)
    (folders.ownFolder cfg.boot.userNet.tftpDir)
    (folders.newFolder (dirOf cfg.disk.path))
  ];
}
