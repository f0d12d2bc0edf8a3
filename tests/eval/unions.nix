# Options of real unions of the types in type_table.nix. `wanted` is a list of { shape, members }: the names of a shape
# below and of the types that it is made of. The option of each is its place in the list.
{ lib }:
wanted:
let
  inherit (lib) mkOption types;
  table = import ./type_table.nix { inherit lib; };

  shapes = {
    either = a: b: types.either a b;
    oneOf =
      a: b:
      types.oneOf [
        a
        types.bool
        b
      ];
    nullable = a: b: types.nullOr (types.either a (types.nullOr b));
    listed = a: b: types.either (types.listOf a) (types.attrsOf (types.either b types.int));
    uniquely = a: b: types.either (types.unique { message = "once"; } a) (types.listOf b);
    checked = a: b: types.either (types.addCheck a (v: v == null || v == 5)) b;
    # The conversion fails for what a check has let through, and yields what is no number.
    coerced =
      a: b: types.either (types.coercedTo types.str (text: if text == "a" then 1 else [ ]) a) b;
    member =
      a: b:
      types.submodule {
        options.a = mkOption { type = types.either a b; };
      };
  };

  make =
    { shape, members }:
    mkOption {
      type = builtins.foldl' (made: name: made table.${name}.type) shapes.${shape} members;
    };
in
builtins.listToAttrs (
  lib.imap0 (index: each: {
    name = "u${toString index}";
    value = make each;
  }) wanted
)
