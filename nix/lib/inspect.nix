# What `ectools options` asks of Nix: options of a configuration, each field of each as an attribute of its own, so that
# one that cannot be evaluated does not lose the others.
#
# `request`: { names, recursive, file }. A name is a list of parts; `file` is the file that `given` was read from, or null.
# `given` is what lib.evalModules returns (nixosSystem and its kin do), a set of options, or a NixOS configuration: a
# function that is a module.
#
# The answer has for the number N of a result
#   N:kind = { path, kind, … }   kind: "option" | "value" (within an option's value) | "set" (names) | "missing" (at, names)
#   N:FIELD                      of an option or a value: value, default, defaultText, example, description, type,
#                                declarations, definitions, files (of these), state
# Values are what describeValue yields (value.nix), null where there is none.
request: given:
let
  # A function whose arguments all have defaults is an expression that wants none.
  isModule =
    builtins.isFunction given
    && (
      builtins.functionArgs given == { }
      || builtins.any (optional: !optional) (builtins.attrValues (builtins.functionArgs given))
    );

  loaded =
    if isModule then
      import (<nixpkgs> + "/nixos/lib/eval-config.nix") {
        lib = import (<nixpkgs> + "/lib");
        modules = [ (if request.file == null then given else request.file) ];
      }
    else if builtins.isFunction given then
      given { }
    else
      given;
  isConfiguration = loaded ? options && loaded ? config;
  options = if isConfiguration then loaded.options else loaded;

  lib =
    if isConfiguration && loaded ? lib.generators then
      loaded.lib
    else if isConfiguration && loaded ? pkgs.lib then
      loaded.pkgs.lib
    else
      import (<nixpkgs> + "/lib");

  inherit (import ./value.nix { inherit lib; }) describeValue plainText;

  isOption = set: builtins.isAttrs set && set._type or null == "option";

  # Of a derivation or a set of packages only what it is: both hold themselves.
  describe =
    v: if builtins.isAttrs v && v._type or null == "pkgs" then { text = "<pkgs>"; } else describeValue v;

  # The part of a value below `path`: [ part ], [ ] where there is none.
  pick =
    path: v:
    if path == [ ] then
      [ v ]
    else if builtins.isAttrs v && v ? ${builtins.head path} then
      pick (builtins.tail path) v.${builtins.head path}
    else if builtins.isList v && isIndex (builtins.length v) (builtins.head path) then
      pick (builtins.tail path) (builtins.elemAt v (builtins.fromJSON (builtins.head path)))
    else
      [ ];
  isIndex =
    length: part: builtins.match "0|[1-9][0-9]{0,8}" part != null && builtins.fromJSON part < length;

  # The same of a definition, in which mkIf and its kin may stand at any depth.
  pickDefined =
    path: v:
    if v._type or null == "if" then
      if v.condition then pickDefined path v.content else [ ]
    else if v._type or null == "merge" then
      builtins.concatMap (pickDefined path) v.contents
    else if
      builtins.elem (v._type or null) [
        "override"
        "order"
      ]
    then
      pickDefined path v.content
    else if path == [ ] then
      [ v ]
    else if builtins.isAttrs v && v ? ${builtins.head path} then
      pickDefined (builtins.tail path) v.${builtins.head path}
    # What a function says, and which of the merged items is whose, only the merge knows.
    else if builtins.isFunction v || builtins.isList v then
      [ v ]
    else
      [ ];

  # The options that a type has below itself on the way of `path`: { set, path }, the latter the rest; else null.
  below =
    type: loc: path:
    if type.name == "submodule" then
      {
        set = type.getSubOptions loc;
        inherit path;
      }
    else if
      builtins.elem type.name [
        "attrListOf"
        "attrsOf"
        "lazyAttrsOf"
        "listOf"
      ]
    then
      if path == [ ] then
        null
      else
        below type.nestedTypes.elemType (loc ++ [ (builtins.head path) ]) (builtins.tail path)
    else
      lib.findFirst (found: found != null) null (
        map (name: below type.nestedTypes.${name} loc path) (
          builtins.filter (name: type.nestedTypes or { } ? ${name}) [
            "elemType"
            "finalType"
            "right"
            "left"
          ]
        )
      );

  # The evaluated options of the submodules in an option's value, which nixpkgs has since 2025-11: as `below`.
  merged =
    option: path:
    let
      meta = option.valueMeta or { };
      attempt = v: (builtins.tryEval v).success && v;
    in
    if attempt (meta ? configuration.options) then
      {
        set = meta.configuration.options;
        inherit path;
      }
    else if path != [ ] && attempt (meta ? attrs.${builtins.head path}.configuration.options) then
      {
        set = meta.attrs.${builtins.head path}.configuration.options;
        path = builtins.tail path;
      }
    else
      null;

  # The results for one name: a list of { path, kind, … } with their fields. `outer` is { option, path }: where `set` is
  # not evaluated, the nearest option that is, and the way from its value to what is looked for.
  locate =
    {
      set,
      rest,
      path,
      outer,
    }:
    if isOption set then
      if rest == [ ] then
        [ (optionResult path outer set) ]
      else
        let
          known = if outer == null then merged set rest else null;
          next = if known != null then known else below (set.type or { name = ""; }) set.loc rest;
          around =
            if known != null then
              null
            else if outer != null then
              outer
            else
              {
                option = set;
                path = rest;
              };
          holder = {
            option = if outer == null then set else outer.option;
            path = if outer == null then rest else outer.path;
          };
        in
        if next == null || next.path == [ ] && !request.recursive then
          [ (valueResult path holder) ]
        else if next.path == [ ] || next.set ? ${builtins.head next.path} then
          locate {
            inherit (next) set;
            rest = next.path;
            inherit path;
            outer = around;
          }
        else if pick holder.path (holder.option.value or null) != [ ] then
          [ (valueResult path holder) ]
        else
          [ (missing path next.path next.set) ]
    else if rest == [ ] then
      if request.recursive then
        builtins.concatMap (
          name:
          locate {
            set = set.${name};
            rest = [ ];
            path = path ++ [ name ];
            outer = if outer == null then null else outer // { path = outer.path ++ [ name ]; };
          }
        ) (namesOf set)
      else
        [
          {
            inherit path;
            kind = "set";
            names = namesOf set;
          }
        ]
    else if set ? ${builtins.head rest} then
      locate {
        set = set.${builtins.head rest};
        rest = builtins.tail rest;
        inherit path outer;
      }
    else
      [ (missing path rest set) ];

  # Of a set of options, those that are options or hold some, as far as that can be told.
  namesOf =
    set:
    builtins.filter (
      name:
      !lib.hasPrefix "_" name
      && (
        let
          isSet = builtins.tryEval (builtins.isAttrs set.${name});
        in
        isSet.success && isSet.value
      )
    ) (builtins.attrNames set);

  missing = path: rest: set: {
    inherit path;
    kind = "missing";
    at = lib.take (builtins.length path - builtins.length rest) path;
    names = namesOf set;
  };

  valueResult = path: holder: {
    inherit path;
    kind = "value";
    fields = valueFields holder // {
      inherit (optionFields holder.option) declarations;
      type = null;
    };
  };

  optionResult = path: outer: option: {
    inherit path;
    kind = "option";
    fields =
      optionFields option
      // valueFields (
        if outer != null then
          outer
        else
          {
            inherit option;
            path = [ ];
          }
      );
  };

  # What depends on the configuration.
  valueFields =
    { option, path }:
    let
      defined = builtins.concatMap (
        definition:
        map (value: {
          file = plainText definition.file;
          inherit value;
        }) (pickDefined path definition.value)
      ) (option.definitionsWithLocations or [ ]);
    in
    {
      value = if option ? value then describeFirst (pick path option.value) else null;
      definitions = map (definition: definition // { value = describe definition.value; }) defined;
      files = map (definition: definition.file) defined;
      state =
        if path == [ ] then
          {
            isDefined = option.isDefined or false;
            priority = option.highestPrio or null;
          }
        else
          { };
    };
  describeFirst = found: if found == [ ] then null else describe (builtins.head found);

  # What the option's declaration says.
  optionFields = option: {
    default = if option ? default then describe option.default else null;
    defaultText =
      if option.defaultText or null == null then
        null
      else if builtins.isString option.defaultText then
        { text = option.defaultText; }
      else
        describe option.defaultText;
    example = if option ? example then describe option.example else null;
    description =
      if option.description or null == null then
        null
      else
        plainText (option.description.text or option.description);
    type = if option ? type then plainText option.type.description else null;
    readOnly = option.readOnly or null == true;
    declarations = map (position: {
      file = plainText position.file;
      line = position.line or null;
    }) (option.declarationPositions or (map (file: { inherit file; }) (option.declarations or [ ])));
  };

  results = builtins.concatMap (
    name:
    locate {
      set = options;
      rest = name;
      path = name;
      outer = null;
    }
  ) request.names;
in
builtins.listToAttrs (
  builtins.concatLists (
    lib.imap0 (
      number: result:
      [
        {
          name = "${toString number}:kind";
          value = builtins.removeAttrs result [ "fields" ];
        }
      ]
      ++ lib.mapAttrsToList (field: value: {
        name = "${toString number}:${field}";
        inherit value;
      }) (result.fields or { })
    ) results
  )
)
