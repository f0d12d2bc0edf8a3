# An option type as data, dispatched on `type.name` with its children from `nestedTypes`: the two things that have kept
# their shape from nixpkgs 2023-11 to today.
#
# A node: { name, description, … } and, by name,
#   elem | left, right | from, to | freeform   nodes
#   options                                    the options of a submodule, or the tags of an attrTag
#   values | pattern | sep | path | bounds     what the type's check looks at
#   checked = true                             the check was replaced by one that is not known from the name
#   up = n                                     instead of everything else: the type that stands n nodes above
#   opaque = true                              a submodule that is not to be looked into
{ lib, value }:
let
  inherit (value) attempt describeValue plainText;

  # mkOptionType writes `_type` and `check` a few lines apart. addCheck, and `type // { check = …; }`, write `check` elsewhere.
  checkIsReplaced =
    type:
    let
      made = builtins.unsafeGetAttrPos "_type" type;
      check = builtins.unsafeGetAttrPos "check" type;
    in
    made != null
    && check != null
    && (made.file != check.file || check.line - made.line > 40 || made.line - check.line > 40);

  accepts =
    type: v:
    let
      result = builtins.tryEval (type.check v);
    in
    result.success && result.value == true;

  bounds = import ./bounds.nix { inherit accepts; };

  # Types are compared by the identity of their merge functions: functions are equal to themselves only when they stand in
  # two sets that share them, which is what intersectAttrs makes.
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
          && builtins.attrNames (builtins.head list) == [
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
    identity a == identity b
    || a.name == "submodule"
    && b.name == "submodule"
    && (attempt (submoduleIdentity a == submoduleIdentity b)).value or false;

  findUp =
    type: above: n:
    if above == [ ] then
      null
    else if sameType type (builtins.head above) then
      n
    else
      findUp type (builtins.tail above) (n + 1);

  hasChildren = [
    "attrListOf"
    "attrTag"
    "attrsOf"
    "coercedTo"
    "deferredModule"
    "either"
    "lazyAttrsOf"
    "listOf"
    "loaOf"
    "nullOr"
    "submodule"
    "unique"
  ];

  # describeOptions and describeType call each other: a submodule holds options.
  describeType =
    {
      describeOptions,
      above,
      loc,
      opaque,
    }@context:
    type:
    let
      name = plainText type.name;
      description = plainText (type.description or name);
      up = if builtins.elem name hasChildren then findUp type above 1 else null;
      below = context // {
        above = [ type ] ++ above;
      };
      nested = child: describeType below type.nestedTypes.${child};
      element = suffix: describeType (below // { loc = loc ++ suffix; }) type.nestedTypes.elemType;
      subOptions =
        describeOptions
          {
            inherit loc;
            inherit (below) above;
          }
          (
            builtins.removeAttrs (type.getSubOptions loc) [
              "_module"
              "_freeformOptions"
            ]
          );
      payload = type.functor.payload or null;
      replaced = checkIsReplaced type;
      checked = lib.optionalAttrs replaced { checked = true; };
      integer = bounds.describe type { inherit replaced; };

      byName = {
        listOf =
          { elem = element [ "*" ]; }
          // (if accepts type [ ] then checked else { nonEmpty = true; })
          // lib.optionalAttrs (replaced && !lib.hasPrefix "non-empty " type.description) checked;
        attrsOf = { elem = element [ "<${payload.placeholder or "name"}>" ]; } // checked;
        attrListOf = { elem = element [ "*" ]; } // checked;
        nullOr = { elem = element [ ]; } // checked;
        unique = { elem = element [ ]; };
        passwdEntry =
          builtins.removeAttrs (describeType context (type // { name = lib.removePrefix "passwdEntry " name; })) [ "checked" ]
          // { passwdEntry = true; inherit description; };
        either = {
          left = nested "left";
          right = nested "right";
        }
        // checked;
        coercedTo = {
          from = nested "coercedType";
          to = nested "finalType";
        }
        // checked;
        submodule =
          (
            if opaque then
              { opaque = true; }
            else
              {
                options = subOptions;
              }
              // lib.optionalAttrs (type.nestedTypes ? freeformType) { freeform = nested "freeformType"; }
          )
          // checked;
        attrTag = { options = subOptions; } // checked;
        deferredModule = { };
        enum = {
          values = map describeValue (if builtins.isList payload then payload else payload.values);
        }
        // checked;
        strMatching = lib.optionalAttrs (payload ? pattern) { inherit (payload) pattern; } // checked;
        separatedString = {
          sep = if builtins.isString payload then payload else payload.sep;
        }
        // checked;
        path = {
          path = if payload ? absolute then { inherit (payload) absolute inStore; } else { absolute = true; inStore = null; };
        }
        // checked;
        pathInStore.path = {
          absolute = true;
          inStore = true;
        };
        int = integer;
        numberBetween = numberRange;
        numberNonnegative = numberRange;
        numberPositive = numberRange;
      };
      numberRange = {
        left.name = "int";
        right.name = "float";
      };
      family =
        if lib.hasPrefix "strMatching" name then
          "strMatching"
        else if lib.hasPrefix "passwdEntry" name then
          "passwdEntry"
        else if builtins.elem name bounds.integerNames then
          "int"
        else
          {
            lazyAttrsOf = "attrsOf";
            loaOf = "attrsOf";
          }
          .${name} or name;
    in
    if up != null then
      { inherit up; }
    else
      { inherit name description; }
      // byName.${family} or checked;
in
{
  inherit describeType;
}
