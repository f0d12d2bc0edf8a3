# The folders of ec-ipxe-qemu.nix: which ones can be used, and the tmpfiles rules that make them.
{
  cfg,
  lib,
  path,
  unit,
}:
let
  hidden = [
    "/home"
    "/root"
    "/run/user"
    "/tmp"
    "/var/tmp"
  ];
  shared = [
    "/"
    "/etc"
    "/mnt"
    "/opt"
    "/run"
    "/srv"
    "/usr"
    "/var"
    "/var/cache"
    "/var/lib"
    "/var/log"
  ];
  isHidden = file: lib.any (folder: lib.hasPrefix "${folder}/" "${file}/") hidden;
  isShared = file: lib.elem (lib.removeSuffix "/" file) (map (lib.removeSuffix "/") shared);

  # An assertion for each of the options (name → value) whose value is of that kind.
  refuse =
    isOfKind: rule:
    lib.mapAttrsToList (
      option: file: {
        assertion = file == null || !isOfKind file;
        message = "${path}.${option} ${rule}";
      }
    );

  inherit (import ./systemd.nix { inherit lib; }) tmpfilesPath;
  rule = file: lib.nameValuePair (tmpfilesPath file);

  owned = {
    user = unit;
    group = unit;
  };
  folder = owned // {
    mode = "0750";
  };
in
{
  assertions =
    refuse isHidden
      "must not be below ${lib.concatStringsSep ", " hidden}, which the service does not see"
      {
        inherit (cfg) stateDir;
        "boot.http.root" = if cfg.boot.http.enable then cfg.boot.http.root else null;
        "boot.userNet.bootFile" = cfg.boot.userNet.bootFile;
        "boot.userNet.tftpDir" = cfg.boot.userNet.tftpDir;
        "disk.path" = cfg.disk.path;
      }
    ++
      refuse isShared "must be a folder of the guest's own, because it is given to the service's user"
        {
          inherit (cfg) stateDir;
          "boot.userNet.tftpDir" = cfg.boot.userNet.tftpDir;
        };

  # Of two rules for one folder, the first counts.
  rules = lib.listToAttrs [
    (rule cfg.stateDir {
      d = folder;
      # What a runner made as root, before there was a user for it. (A rule for the disk alone would be refused: from a
      # user's folder, systemd-tmpfiles does not go on to a file of root's.)
      Z = owned;
    })
    (rule cfg.boot.userNet.tftpDir { d = folder; })
    # ":" is for a folder that is still to be made: one that is there may be somebody else's.
    (rule (dirOf cfg.disk.path) { d = lib.mapAttrs (_: value: ":${value}") folder; })
  ];
}
