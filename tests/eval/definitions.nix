# What one file of a configuration of somebody else's defines of NixOS's options, and what it imports below `root`, as data:
# a set of { path, value } by a name of each. What is no data (packages, functions) is left out, and so is whatever the flake
# of that configuration brings: arguments that NixOS does not give throw, and imports that throw or lead elsewhere are passed over.
{ file, root }:
let
  lib = import <nixpkgs/lib>;
  given = [
    "config"
    "lib"
    "modulesPath"
    "options"
    "pkgs"
    "utils"
  ];
  offline = builtins.filter builtins.pathExists [ <nixpkgs/nixos-module.nix> ];
  evaluate =
    module:
    import <nixpkgs/nixos/lib/eval-config.nix> {
      inherit lib;
      system = null;
      modules =
        offline
        ++ [ { nixpkgs.hostPlatform = lib.mkOptionDefault "x86_64-linux"; } ]
        ++ module;
    };
  known = (evaluate [ ]).options;
  collected = {
    options.collected = lib.mkOption { type = lib.types.listOf lib.types.raw; };
    config._module.check = false;
    config.collected = [ ];
  };

  fromFile =
    path:
    let
      inner = path + "/default.nix";
      place = if builtins.pathExists inner then inner else path;
    in
    {
      key = toString place;
      imports = [ (fromModule (import place)) ];
    };
  fromModule =
    module:
    let
      arguments = if lib.isFunction module then lib.functionArgs module else { };
      call = if lib.isFunction module then module else _: module;
      unknown = builtins.removeAttrs (lib.filterAttrs (_: hasDefault: !hasDefault) arguments) given;
    in
    lib.setFunctionArgs (
      those: clean (call (lib.mapAttrs (name: _: throw "there is no ${name}") unknown // those))
    ) (builtins.intersectAttrs (lib.genAttrs given (_: null)) arguments);
  clean =
    module:
    let
      others = [
        "imports"
        "key"
        "meta"
        "options"
        "_class"
        "_file"
        "disabledModules"
      ];
      isLong = module ? config || module ? options;
      config = if isLong then module.config or { } else builtins.removeAttrs module others;
    in
    {
      imports = lib.concatMap import' (module.imports or [ ]);
      options = module.options or { };
      config = lib.mkMerge [
        config
        { collected = [ config ]; }
      ];
    };
  import' =
    module:
    let
      tried = builtins.tryEval module;
      isPath = builtins.isPath tried.value || builtins.isString tried.value;
    in
    if !tried.success then
      [ ]
    else if !isPath then
      [ (fromModule tried.value) ]
    else if !builtins.pathExists tried.value then
      [ ]
    else if lib.hasPrefix root (toString tried.value) then
      [ (fromFile (/. + toString tried.value)) ]
    else
      [ tried.value ];

  or' =
    fallback: value:
    let
      tried = builtins.tryEval value;
    in
    if tried.success then tried.value else fallback;

  # Each definition of an option, below mkIf and its kin.
  walk =
    path: definition: options:
    let
      value = or' { } definition;
      type = value._type or "";
      step = name: walk (path ++ [ name ]) value.${name} options.${name};
    in
    if lib.isOption options then
      [
        {
          inherit path;
          value = definition;
        }
      ]
    else if !(builtins.isAttrs value && builtins.isAttrs options) then
      [ ]
    else if type == "merge" then
      lib.concatMap (each: walk path each options) value.contents
    else if type == "if" then
      lib.optionals (or' false value.condition) (walk path value.content options)
    else if type == "override" || type == "order" then
      walk path value.content options
    else
      lib.concatMap step (builtins.filter (name: options ? ${name}) (builtins.attrNames value));

  # A value as data: a list of it, empty where it is none.
  data =
    value:
    let
      tried = builtins.tryEval value;
      it = tried.value;
      type = it._type or "";
      parts = lib.concatMap data it.contents;
      inner = lib.mapAttrs (_: data) it;
    in
    if !tried.success || builtins.isFunction it then
      [ ]
    else if builtins.isString it then
      [ (builtins.unsafeDiscardStringContext it) ]
    else if builtins.isPath it then
      [ (toString it) ]
    else if builtins.isList it then
      [ (lib.concatMap data it) ]
    else if !builtins.isAttrs it then
      [ it ]
    else if type == "override" || type == "order" then
      data it.content
    else if type == "if" then
      lib.optionals (or' false it.condition) (data it.content)
    else if type == "merge" then
      lib.optional (parts != [ ] && lib.all builtins.isAttrs parts) (
        lib.foldl' lib.recursiveUpdate { } parts
      )
    else if it ? outPath || it ? __functor then
      [ ]
    else
      [ (lib.mapAttrs (_: builtins.head) (lib.filterAttrs (_: each: each != [ ]) inner)) ];

  isOfPackages =
    type:
    type.name == "package"
    || builtins.elem type.name [
      "listOf"
      "nullOr"
    ]
    && isOfPackages type.nestedTypes.elemType;

  found = lib.concatMap (config: walk [ ] config known) (evaluate [
    collected
    (fromFile file)
  ]).config.collected;
in
builtins.listToAttrs (
  lib.imap0 (index: each: {
    name = toString index;
    value = {
      inherit (each) path;
      values =
        if isOfPackages (lib.getAttrFromPath each.path known).type then [ ] else data each.value;
    };
  }) found
)
