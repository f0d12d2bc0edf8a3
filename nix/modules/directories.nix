# The directories of the modules' services: which ones can be used, and the tmpfiles rules that make them.
#
#   path  the option tree, for messages
#   user  the service's user, which is its group's name too
{
  lib,
  path,
  user,
}:
let
  inherit (import ./units.nix { inherit lib; })
    directoryMode
    hiddenDirectories
    sharedDirectories
    systemDirectories
    ;
  # As the file system reads it: "//a/./b/" is /a/b.
  partsOf = file: lib.filter (part: part != "" && part != ".") (lib.splitString "/" file);
  isBelow = directory: file: lib.take (lib.length (partsOf directory)) (partsOf file) == partsOf directory;
  isHidden = file: lib.any (directory: isBelow directory file) hiddenDirectories;
  isShared =
    file:
    lib.any (directory: partsOf directory == partsOf file) sharedDirectories
    || lib.any (directory: isBelow directory file) systemDirectories;

  # An assertion for each of the options (name → value) whose value is of that kind.
  refuse =
    isOfKind: rule:
    lib.mapAttrsToList (
      option: file: {
        assertion = file == null || !lib.any isOfKind (lib.toList file);
        message = "${path}.${option} ${rule}";
      }
    );

  inherit (import ./systemd.nix { inherit lib; }) tmpfilesPath;
  # Types in capitals take globs.
  glob = file: tmpfilesPath (lib.escape (lib.stringToCharacters ''\*?['') file);

  owner = {
    inherit user;
    group = user;
  };
  directory = owner // {
    mode = directoryMode;
  };
in
{
  inherit isBelow;

  # Files and directories that the service reads or writes: option → path, paths or null.
  refuseHidden = refuse isHidden "must not be below ${lib.concatStringsSep ", " hiddenDirectories}, which the service does not see";

  # Directories that are given to the service's user: option → path.
  refuseShared =
    whose:
    refuse isShared "must be a directory of ${whose} own, because it is given to the service's user";

  # The rules of a tmpfiles file: path → type → rule. Of two of one type for one path, the first counts.
  rules = lib.zipAttrsWith (_: lib.foldl' (first: next: next // first) { });

  # A directory of the service's own, with all that lies in it: also what somebody made there as root, by hand or before
  # there was a user for it. (A rule for one file would be refused: from a user's directory, systemd-tmpfiles does not go
  # on to a file of root's.)
  ownTree =
    file: lib.recursiveUpdate { ${tmpfilesPath file}.d = directory; } { ${glob file}.Z = owner; };
  ownDirectory = file: { ${tmpfilesPath file}.d = directory; };
  # ":" is for a directory that is still to be made: one that is there may be somebody else's.
  newDirectory = file: { ${tmpfilesPath file}.d = lib.mapAttrs (_: value: ":${value}") directory; };
}
