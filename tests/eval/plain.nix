# A value without its packages: each is its path, so that no evaluation of all of it runs into what a package holds.
let
  plain =
    value:
    if builtins.isAttrs value && value ? outPath then
      "${value}"
    else if builtins.isAttrs value then
      builtins.mapAttrs (_: plain) value
    else if builtins.isList value then
      map plain value
    else
      value;
in
plain
