# The options of NixOS, without a configuration; without those that `ectools schema export` names as broken in some trees,
# because any one of them ends the bare evaluation.
let
  inherit (import ../../tests/eval/nixos.nix { }) options;
  broken = [
    [
      "boot"
      "bootspec"
    ]
    [
      "programs"
      "dconf"
      "profiles"
    ]
    [
      "services"
      "prosody"
      "httpFileShare"
    ]
  ];
  without =
    set: path:
    let
      name = builtins.head path;
    in
    if !set ? ${name} then
      set
    else if builtins.length path == 1 then
      builtins.removeAttrs set path
    else
      set // { ${name} = without set.${name} (builtins.tail path); };
in
builtins.foldl' without options broken
