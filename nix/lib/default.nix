# Options as plain data: what `ectools schema` makes JSON Schemas of.
#
# Everything here evaluates without a store, in pure evaluation, with Nix 2.8 and every later one, and with the lib of
# nixpkgs 2023-11 and every later one. What cannot be evaluated is named in the result (`broken`), as far as
# `builtins.tryEval` reaches: it does not catch an abort or a missing attribute. The caller finds such an option by the
# marks that `trace` puts on standard error, and names it in `skip` the next time.
{ lib }:
let
  value = import ./value.nix { inherit lib; };
  types = import ./types.nix { inherit lib value; };
  options = import ./options.nix { inherit lib value types; };
  difference = import ./difference.nix { inherit lib; };
  dumps = import ./dumps.nix { inherit lib options difference; };
in
{
  inherit (options) describeOptions;
  inherit (dumps) moduleDump optionsDump treeDump;
  fleet = import ./fleet.nix { inherit lib; };
}
