# The directories of ec-ipxe-qemu.nix: which ones can be used, and the tmpfiles rules that make them.
{
  cfg,
  lib,
  path,
  unit,
}:
let
  directories = import ./directories.nix {
    inherit lib path;
    user = unit;
  };
in
{
  assertions =
    directories.refuseHidden {
      inherit (cfg) stateDir;
      "boot.http.root" = if cfg.boot.http.enable then cfg.boot.http.root else null;
      "boot.userNet.bootFile" = cfg.boot.userNet.bootFile;
      "boot.userNet.tftpDir" = cfg.boot.userNet.tftpDir;
      "disk.path" = cfg.disk.path;
    }
    ++ directories.refuseShared "the guest's" {
      inherit (cfg) stateDir;
      "boot.userNet.tftpDir" = cfg.boot.userNet.tftpDir;
    };

  rules = directories.rules [
    (directories.ownTree cfg.stateDir)
    (directories.ownDirectory cfg.boot.userNet.tftpDir)
    (directories.newDirectory (dirOf cfg.disk.path))
  ];
}
