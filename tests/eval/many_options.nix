# Nine hundred options, of the types that modules use most.
let
  inherit (import <nixpkgs/lib>)
    evalModules
    genAttrs
    mkOption
    types
    ;
  inner.options.port = mkOption {
    type = types.port;
    default = 80;
  };
  kinds = {
    inherit (types)
      bool
      int
      package
      path
      port
      str
      ;
    list = types.listOf types.str;
    maybe = types.nullOr (types.either types.int types.str);
    named = types.attrsOf (types.submodule inner);
  };
  names = map toString (builtins.genList (n: n) 100);
  declare =
    type:
    genAttrs names (
      _:
      mkOption {
        inherit type;
        description = "d";
      }
    );
in
(evalModules { modules = [ { options = builtins.mapAttrs (_: declare) kinds; } ]; }).options
