# An option type as data, dispatched on `type.name` with its children from `nestedTypes`: the two things that have kept
# their shape from nixpkgs 2023-11 to today.
#
# A node: { name, description, … } and, by name,
#   elem | left, right | from, to | freeform   nodes
#   options                                    the options of a submodule, or the tags of an attrTag
#   values | pattern | sep | path | bounds     what the type's check looks at
#   placeholder                                what stands for any name, where that is not "name"
#   nonEmpty = true                            a list that refuses the empty one
#   passwdEntry = true                         neither newline nor colon
#   checked = true                             the check or the merge was replaced by one not known from the name
#   opaque = true                              a submodule that is not to be looked into
#   inside = { wrap, options, … }              of a type that is none of nixpkgs': the options that it says are below it; `wrap`
#                                              are the steps that lead to them, `freeform` as of a submodule
#   nested = { NAME = node }                   or, where it says of none, the types that it is made of
# or only { up = n }: the type that stands n nodes above.
{ lib, value }:
let
  inherit (value) attempt describeValue;

  # mkOptionType writes `_type`, `check` and `merge` a few lines apart. addCheck, `type // { check = …; }` and the like
  # write them elsewhere. Most types are made by the mkOptionType of this `lib`, at places that are known: two questions
  # instead of three, and nothing to reckon with.
  placeOfCheck = builtins.unsafeGetAttrPos "check" lib.types.str;
  placeOfMerge = builtins.unsafeGetAttrPos "merge" lib.types.str;
  checkIsReplaced =
    type:
    let
      check = builtins.unsafeGetAttrPos "check" type;
      merge = builtins.unsafeGetAttrPos "merge" type;
      made = builtins.unsafeGetAttrPos "_type" type;
      isFar =
        place:
        place != null
        && (place.line - made.line > 40 || made.line - place.line > 40 || made.file != place.file);
    in
    !(check == placeOfCheck && merge == placeOfMerge) && made != null && (isFar check || isFar merge);

  accepts =
    type: v:
    let
      result = builtins.tryEval (type.check v);
    in
    result.success && result.value == true;

  bounds = import ./bounds.nix { inherit lib accepts; };

  # Types are compared by the identity of their merge functions. A function is equal to itself only as an attribute that
  # two sets share, which is what intersectAttrs makes.
  identity = builtins.intersectAttrs { merge = null; };
  submoduleIdentity =
    type:
    let
      # Each level of the module system wraps a submodule's modules once more.
      unwrap =
        list:
        if
          builtins.length list == 1
          && builtins.isAttrs (builtins.head list)
          &&
            builtins.attrNames (builtins.head list) == [
              "_file"
              "imports"
            ]
        then
          unwrap (builtins.head list).imports
        else
          list;
    in
    map (module: unwrap [ module ]) (type.getSubModules or [ ]);

  sameType =
    a: b:
    a.name == b.name
    && (
      identity a == identity b
      || a.name == "submodule" && (attempt (submoduleIdentity a == submoduleIdentity b)).value or false
    );

  findUp =
    type: above: n:
    if above == [ ] then
      null
    else if sameType type (builtins.head above) then
      n
    else
      findUp type (builtins.tail above) (n + 1);

  base = type: {
    inherit (type) name;
    description = type.description or type.name;
  };
  leaf = _context: type: if checkIsReplaced type then base type // { checked = true; } else base type;

  # What `extra` adds to a node whose check may have been replaced.
  checkable =
    type: extra: base type // extra // (if checkIsReplaced type then { checked = true; } else { });

  child =
    context: type: name:
    describeType (below context type) type.nestedTypes.${name};
  below =
    context: type:
    context
    // {
      above = [ type ] ++ context.above;
      outermost = false;
    };
  element =
    suffix: context: type:
    describeType (below context type // { loc = context.loc ++ suffix; }) type.nestedTypes.elemType;

  # Where the options stand that a type says are below it, relative to the type: what their locations have between. null where
  # that cannot be told.
  wrapOf =
    loc: set:
    let
      find =
        path: set:
        let
          name = builtins.head (builtins.attrNames set);
          inner = set.${name};
        in
        if !builtins.isAttrs set || set == { } then
          null
        else if builtins.isAttrs inner && inner._type or null == "option" then
          {
            path = path ++ [ name ];
            loc = inner.loc or null;
          }
        else
          find (path ++ [ name ]) inner;
      found = find [ ] set;
      length = builtins.length loc;
      count = builtins.length found.loc - length - builtins.length found.path;
    in
    if found == null || found.loc == null || lib.take length found.loc != loc || count < 0 then
      null
    else
      lib.sublist length count found.loc;

  # A type that is none of nixpkgs'. What it takes nobody knows; what is below it, it may tell.
  custom =
    context: type:
    let
      set = builtins.removeAttrs ((type.getSubOptions or (_: { })) context.loc) [
        "_module"
        "_freeformOptions"
      ];
      wrap = wrapOf context.loc set;
      # One that names its element may keep further names for compatibility, and warn where they are read.
      nested =
        if (type.nestedTypes or { }) ? elemType then
          { inherit (type.nestedTypes) elemType; }
        else
          type.nestedTypes or { };
    in
    leaf context type
    // (
      if context.opaque then
        { }
      else if set != { } && wrap != null then
        {
          inside = {
            inherit wrap;
            options = describeInside (context // { loc = context.loc ++ wrap; }) type set;
          };
        }
      else if nested != { } then
        { nested = builtins.mapAttrs (_: describeType (below context type)) nested; }
      else
        { }
    );

  describeInside =
    context: type: set:
    context.describeOptions {
      inherit (context) loc;
      above = [ type ] ++ context.above;
    } set;
  describeSubmodule =
    context: type:
    let
      set = type.getSubOptions context.loc;
      # `nestedTypes` has the same, but evaluates the submodule once more for it.
      freeform = set._module.freeformType.value or type.nestedTypes.freeformType or null;
    in
    {
      options = describeInside context type (
        builtins.removeAttrs set [
          "_module"
          "_freeformOptions"
        ]
      );
    }
    // (if freeform == null then { } else { freeform = describeType (below context type) freeform; });

  # Types that hold others, and so may hold themselves.
  composite = {
    attrListOf = context: type: checkable type { elem = element [ "*" ] context type; };
    attrTag = context: type: checkable type { options = describeInside context type type.nestedTypes; };
    attrsOf =
      context: type:
      let
        placeholder = type.functor.payload.placeholder or "name";
      in
      checkable type (
        {
          elem = element [ "<${placeholder}>" ] context type;
        }
        // (if placeholder == "name" then { } else { inherit placeholder; })
      );
    coercedTo =
      context: type:
      checkable type {
        from = child context type "coercedType";
        to = child context type "finalType";
      };
    either =
      context: type:
      checkable type {
        left = child context type "left";
        right = child context type "right";
      };
    lazyAttrsOf = composite.attrsOf;
    # nixvim's: a value, or Lua code that is marked as such.
    maybeRaw =
      context: type:
      if type.nestedTypes ? elemType && type.nestedTypes ? rawLua then
        checkable type {
          name = "either";
          left = child context type "rawLua";
          right = child context type "elemType";
        }
      else
        custom context type;
    listOf =
      context: type:
      base type
      // {
        elem = element [ "*" ] context type;
      }
      // (
        if !checkIsReplaced type && accepts type [ ] then
          { }
        else
          {
            nonEmpty = !accepts type [ ];
            checked = checkIsReplaced type && !lib.hasPrefix "non-empty " type.description;
          }
      );
    loaOf = composite.attrsOf;
    nullOr = context: type: checkable type { elem = element [ ] context type; };
    submodule =
      context: type:
      checkable type (if context.opaque then { opaque = true; } else describeSubmodule context type);
    unique = context: type: base type // { elem = element [ ] context type; };
  };

  simple = {
    enum =
      _context: type:
      let
        inherit (type.functor) payload;
      in
      checkable type {
        values = map describeValue (if builtins.isList payload then payload else payload.values);
      };
    path =
      _context: type:
      checkable type {
        path = {
          absolute = type.functor.payload.absolute or true;
          inStore = type.functor.payload.inStore or null;
        };
      };
    separatedString =
      _context: type:
      checkable type {
        sep = type.functor.payload.sep or type.functor.payload;
      };
  }
  # What nixpkgs has nothing below; what is named so is not asked for it.
  // lib.genAttrs [
    "anything"
    "attrs"
    "bool"
    "float"
    "nonEmptyStr"
    "package"
    "raw"
    "singleLineStr"
    "str"
    "unspecified"
  ] (_: leaf)
  // lib.genAttrs bounds.integerNames (
    _: _context: type:
    base type // bounds.describe type { replaced = checkIsReplaced type; }
  )
  # Their checks are replaced by nature.
  // lib.genAttrs [
    "numberBetween"
    "numberNonnegative"
    "numberPositive"
    "pkgs"
  ] (_: _context: base);

  byPrefix =
    context: type:
    if lib.hasPrefix "strMatching " type.name then
      checkable type (
        if (type.functor.payload or null) ? pattern then
          { inherit (type.functor.payload) pattern; }
        else
          { }
      )
    else if lib.hasPrefix "passwdEntry " type.name then
      builtins.removeAttrs (describeType context (
        type // { name = lib.removePrefix "passwdEntry " type.name; }
      )) [ "checked" ]
      // {
        inherit (type) description;
        passwdEntry = true;
      }
    else
      custom context type;

  # Whether a node refers to one above it.
  refersUp =
    node:
    node ? up
    || builtins.any refersUp (builtins.attrValues (builtins.intersectAttrs inner node))
    || node ? nested && builtins.any refersUp (builtins.attrValues node.nested);
  inner = {
    elem = null;
    left = null;
    right = null;
    from = null;
    to = null;
    freeform = null;
  };

  # Within a type that holds itself, a description that is made of those inside has no end. nixpkgs reads the outermost one
  # alone, which then is one of its own.
  described =
    context: node:
    if context.outermost or true || !refersUp node then
      node
    else
      builtins.removeAttrs node [ "description" ];

  # `context`: { loc, above, opaque, aliases, describeOptions }; describeOptions and describeType call each other. `aliases`
  # maps the name of a type to that of one of nixpkgs'. Within a type, `outermost` is false.
  describeType =
    context: given:
    let
      type =
        if context.aliases ? ${given.name} then given // { name = context.aliases.${given.name}; } else given;
      up = findUp type context.above 1;
    in
    if simple ? ${type.name} then
      simple.${type.name} context type
    else if up != null then
      { inherit up; }
    else
      described context ((composite.${type.name} or byPrefix) context type);
in
{
  inherit describeType;
}
