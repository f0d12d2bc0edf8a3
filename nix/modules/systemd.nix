# What the modules share that is systemd's: text as it reads it, the rules for secrets, the sandbox that units start from,
# the journal in memory.
{ lib }:
rec {
  # Specifiers are expanded in nearly every setting (systemd.unit(5)); lists are split at blanks.
  plain = lib.replaceStrings [ "%" ] [ "%%" ];
  quoted = text: ''"${lib.replaceStrings [ ''\'' ''"'' ] [ ''\\'' ''\"'' ] (plain text)}"'';

  # The name of a unit (systemd.unit(5)), as a pattern.
  unitName = "[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*[.](automount|device|mount|path|scope|service|slice|socket|swap|target|timer)";

  # An assertion for an option that names a file with a secret.
  refuseStorePath = option: file: {
    assertion = file == null || !lib.hasPrefix "${builtins.storeDir}/" file;
    message = "${option} must not be in the Nix store, which everyone can read";
  };

  # The path of a tmpfiles rule stands between single quotes, with C escapes and specifiers (tmpfiles.d(5)).
  tmpfilesPath = lib.replaceStrings [ "\\" "'" "%" ] [ "\\\\" "\\'" "%%" ];

  # The definitions of services.journald for a journal in memory; nixpkgs renames the option after 26.05. `journald` are
  # its options.
  volatileJournal =
    journald:
    if journald ? settings then
      { settings.Journal.Storage = lib.mkDefault "volatile"; }
    else
      { storage = lib.mkDefault "volatile"; };

  # Everything that a program can do without which serves files or runs a guest. What a unit needs, it takes back.
  inherit (import ./units.nix { inherit lib; }) sandbox;
}
