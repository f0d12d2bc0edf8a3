# A set of options as a flat list of plain data.
#
# An option: { path, … } and, where it has them,
#   description = text                       default | example = what describeValue yields
#   type = what describeType yields          relatedPackages = text
#   declarations = [ { file, line } ]        internal | readOnly = true
#   visible = false | "shallow" | "transparent"
#   empty = true                             its type has a value of its own for an option that nobody set
#   broken = [ field … ]                     whose evaluation failed; "option" is all of it
# `path` is relative to the set that was given.
{
  lib,
  value,
  types,
}:
let
  inherit (value) attempt describeValue plainText;

  fieldsOf = context: loc: option: {
    default =
      if option ? defaultText && option.defaultText != null then
        { default = if builtins.isString option.defaultText then { text = option.defaultText; } else describeValue option.defaultText; }
      else
        lib.optionalAttrs (option ? default) { default = describeValue option.default; };

    description = lib.optionalAttrs (option.description or null != null) {
      description = plainText (option.description.text or option.description);
    };

    example = lib.optionalAttrs (option ? example) { example = describeValue option.example; };

    type = lib.optionalAttrs (option ? type) {
      type = types.describeType {
        inherit loc;
        inherit (context) above;
        opaque = option.visible or true == "shallow";
        describeOptions = { loc, above }: describeTree (context // { inherit loc above; });
      } option.type;
    };

    rest = {
      declarations = map (position: {
        file = plainText position.file;
        line = position.line or null;
      }) (option.declarationPositions or (map (file: { inherit file; }) (option.declarations or [ ])));
    }
    // lib.optionalAttrs (option.type.emptyValue or { } ? value) { empty = true; }
    // lib.optionalAttrs (option.internal or null == true) { internal = true; }
    // lib.optionalAttrs (option.readOnly or null == true) { readOnly = true; }
    // lib.optionalAttrs (option ? visible && option.visible != null && option.visible != true) { inherit (option) visible; }
    // lib.optionalAttrs (option.relatedPackages or null != null) {
      relatedPackages = relatedPackages option.relatedPackages;
    };
  };

  relatedPackages =
    given:
    if builtins.isString given then
      plainText given
    else
      lib.concatMapStringsSep ", " (
        p: plainText (if builtins.isString p then p else p.name or (lib.concatStringsSep "." (p.path or [ ])))
      ) given;

  # One field of one option: { value }, or { } where it is broken. tryEval lets an abort through: then the mark without
  # an end says where it happened.
  marked =
    context: id: field: v:
    if context.skip ? ${id} && builtins.elem field context.skip.${id} then
      { }
    else if context.trace == null then
      attempt v
    else
      let
        mark =
          what:
          builtins.trace "${context.trace}${
            builtins.toJSON [
              what
              id
              field
            ]
          }";
        result = mark "begin" (attempt v);
      in
      builtins.seq result (mark "end" result);

  # The fields of an option, each evaluated by itself, and the names of those that failed.
  describeOption =
    context:
    { path, option }:
    let
      loc = context.loc ++ path;
      id = lib.concatStringsSep "." loc;
      results = builtins.mapAttrs (field: marked context id field) (fieldsOf context loc option);
      broken = builtins.filter (field: !(results.${field} ? value)) (builtins.attrNames results);
    in
    builtins.foldl' (all: result: all // result.value or { }) { inherit path; } (
      builtins.attrValues results
    )
    // lib.optionalAttrs (broken != [ ]) { inherit broken; };

  # Every option below `set`, as { path, option }; one that cannot even be looked at as { path }.
  flatten =
    context: path: set:
    builtins.concatMap (
      name:
      let
        here = path ++ [ name ];
        kind = marked context (lib.concatStringsSep "." (context.loc ++ here)) "option" (
          if !builtins.isAttrs set.${name} then
            "other"
          else if set.${name}._type or null == "option" then
            "option"
          else
            "set"
        );
      in
      if !(kind ? value) then
        [ { path = here; } ]
      else
        {
          option = [
            {
              path = here;
              option = set.${name};
            }
          ];
          set = flatten context here set.${name};
          other = [ ];
        }
        .${kind.value}
    ) (builtins.attrNames set);

  describeFound =
    context: found:
    if found ? option then
      describeOption context found
    else
      {
        inherit (found) path;
        broken = [ "option" ];
      };

  describeTree = context: set: map (describeFound context) (flatten context [ ] set);

  # Since nixpkgs 2026-03 an option that nobody set has its type's empty value.
  emptyIsDefault =
    (builtins.tryEval
      (lib.evalModules { modules = [ { options.probe = lib.mkOption { type = lib.types.nullOr lib.types.str; }; } ]; })
      .config.probe
    ).success;
in
{
  inherit emptyIsDefault;

  # `loc` is where the set stands. `skip` maps an option's dotted location to the fields to leave alone. `trace` is a text
  # that starts each mark on standard error, or null for none. `range` is the part { from, count } of the flat list
  # that is to be described, or null for all of it.
  describeOptions =
    {
      loc ? [ ],
      skip ? { },
      trace ? null,
      range ? null,
    }:
    set:
    let
      context = {
        inherit loc skip trace;
        above = [ ];
      };
      found = flatten context [ ] set;
      part = if range == null then found else lib.sublist range.from range.count found;
      number = if range == null then 0 else range.from;
    in
    lib.imap0 (
      index: option:
      if trace == null then
        describeFound context option
      else
        builtins.trace "${trace}${
          builtins.toJSON [
            "option"
            (number + index)
          ]
        }" (describeFound context option)
    ) part;
}
