# One option for each type that the exporter knows, and for each way in which types nest. The types that a lib lacks are
# left out: nixpkgs 2023-11 has fewer than today's.
{ lib }:
let
  inherit (lib) mkOption types;
  option = type: mkOption { inherit type; };

  server = types.submodule {
    options = {
      host = option types.str;
      port = mkOption {
        type = types.port;
        default = 80;
      };
      tags = mkOption {
        type = types.listOf types.str;
        default = [ ];
      };
    };
  };

  tree = types.submodule {
    options = {
      label = option types.str;
      children = mkOption {
        type = types.listOf tree;
        default = [ ];
      };
    };
  };

  jsonType =
    types.nullOr (
      types.oneOf [
        types.bool
        types.int
        types.float
        types.str
        (types.attrsOf jsonType)
        (types.listOf jsonType)
      ]
    )
    // {
      description = "JSON value";
    };

  table = {
    anything = types.anything;
    attrs = types.attrs;
    attrsOf = types.attrsOf types.int;
    bool = types.bool;
    boolByOr = types.boolByOr or null;
    coercedTo = types.coercedTo types.int toString types.str;
    coercedToList = types.coercedTo types.str lib.singleton (types.listOf types.str);
    commas = types.commas;
    either = types.either types.int types.str;
    eitherLists = types.either (types.listOf types.int) (types.listOf types.str);
    eitherSubmoduleOrPath = types.either server types.path;
    eitherSubmoduleOrText = types.either server types.str;
    eitherSubmodules = types.oneOf [
      types.bool
      server
      (types.attrsOf types.str)
    ];
    enum = types.enum [
      "a"
      "b"
      1
      null
    ];
    envVar = types.envVar;
    float = types.float;
    int = types.int;
    intBetween = types.ints.between (-5) 7;
    intChecked = types.addCheck types.int (x: x > 5 && x < 1000);
    intCheckedPort = types.addCheck types.port (x: x >= 1024);
    json = jsonType;
    jsonFormat = types.json or null;
    lazyAttrsOf = types.lazyAttrsOf types.bool;
    lines = types.lines;
    listOf = types.listOf types.int;
    nonEmptyListOf = types.nonEmptyListOf types.int;
    nonEmptyStr = types.nonEmptyStr;
    nullOr = types.nullOr types.int;
    number = types.number;
    numberBetween = types.numbers.between (-0.5) 2;
    numberNonnegative = types.numbers.nonnegative;
    numberPositive = types.numbers.positive;
    oneOf = types.oneOf [
      types.int
      types.bool
      (types.enum [ "x" ])
    ];
    passwdEntry = types.passwdEntry types.str;
    passwdEntryPath = types.passwdEntry types.path;
    path = types.path;
    port = types.port;
    raw = types.raw;
    separatedString = types.separatedString "; ";
    singleLineStr = types.singleLineStr;
    str = types.str;
    strMatching = types.strMatching "[a-z]+(-[[:digit:]]{1,3})?|\\.[^]x]*";
    submodule = server;
    submoduleFreeform = types.submodule {
      freeformType = types.attrsOf types.int;
      options.name = option types.str;
    };
    submoduleJson = types.submodule {
      freeformType = jsonType;
      options.debug = mkOption {
        type = types.bool;
        default = false;
      };
    };
    submoduleIni = types.submodule {
      freeformType = types.attrsOf (types.attrsOf types.int);
      options.main.depth = mkOption {
        type = types.ints.u8;
        default = 1;
      };
    };
    submodules = types.attrsOf (types.nullOr server);
    tag = (types.attrTag or (_: null)) {
      file = option types.path;
      size = option types.ints.positive;
    };
    tree = tree;
    unique = types.unique { message = "only once"; } types.int;
    unspecified = types.unspecified;
    unsigned = types.ints.unsigned;
    positive = types.ints.positive;
    u8 = types.ints.u8;
    u16 = types.ints.u16;
    u32 = types.ints.u32;
    s8 = types.ints.s8;
    s16 = types.ints.s16;
    s32 = types.ints.s32;
    attrListOf = (types.attrListOf or (_: null)) types.int;
    externalPath = types.externalPath or null;
    relativePath = (types.pathWith or (_: null)) { absolute = false; };
    pathInStore = types.pathInStore;
    package = types.package;
    deferredModule = types.deferredModule;
  };
in
lib.mapAttrs (_: option) (lib.filterAttrs (_: type: type != null) table)
