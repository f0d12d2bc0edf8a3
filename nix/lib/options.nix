# A set of options as a flat list of plain data.
#
# An option: { path, … } and, where it has them (null counts as absent),
#   description = text                       default | example = what describeValue yields
#   type = what describeType yields          relatedPackages = text
#   declarations = [ { file, line } ]        internal | readOnly = true
#   modules = [ file ]                       of the modules that declare it, where these are other files
#   visible = false | "shallow" | "transparent"
#   empty = true                             its type has a value of its own for an option that nobody set
#   emptyDefault = what describeValue yields    that value, where nixpkgs shows it as the default of one that has none
#   defined = true                           the submodule that declares it defines it itself
#   broken = [ field … ]                     whose evaluation failed; "option" is all of it
#   id = text                                of a broken one: its location, as `skip` and the marks name it
# `path` is relative to the set that was given.
{
  lib,
  value,
  types,
}:
let
  inherit (value)
    attempt
    describeText
    describeValue
    plainText
    ;

  # The fields by which an option can be broken, each with what it puts into the record.
  fields = {
    default = _context: _loc: option: {
      default =
        if option.defaultText or null != null then
          describeText option.defaultText
        else if option ? default then
          describeValue option.default
        else
          null;
    };

    # A submodule may define what it declares without a default: its name, a path made of that. Where its own evaluation
    # fails without the rest of a configuration, nobody knows. Options of a whole configuration are not asked, because
    # that evaluates all of it.
    defined =
      context: _loc: option:
      if
        context.required
        && context.loc != [ ]
        && !(option ? default)
        && (attempt (option.isDefined or false)).value or false
      then
        { defined = true; }
      else
        { };

    description = _context: _loc: option: {
      description =
        if option.description or null == null then
          null
        else
          plainText (option.description.text or option.description);
    };

    example =
      _context: _loc: option:
      if option ? example then { example = describeValue option.example; } else { };

    rest =
      _context: _loc: option:
      let
        modules = map plainText (option.declarations or [ ]);
        declarations = map (position: {
          file = plainText position.file;
          line = position.line or null;
        }) (option.declarationPositions or (map (file: { inherit file; }) modules));
      in
      {
        inherit declarations;
      }
      // (
        if !(option ? declarations) || map (place: place.file) declarations == modules then
          { }
        else
          { inherit modules; }
      )
      // rare (builtins.intersectAttrs rareFields option)
      // (if option.type.emptyValue or { } ? value then { empty = true; } else { });

    type =
      context: loc: option:
      if option ? type then
        {
          type = types.describeType {
            inherit loc;
            inherit (context) above aliases;
            opaque = option.visible or true == "shallow";
            describeOptions = { loc, above }: describeTree (context // { inherit loc above; });
          } option.type;
        }
        // emptyDefault option
      else
        { };
  };

  rareFields = {
    internal = null;
    readOnly = null;
    relatedPackages = null;
    visible = null;
  };
  rare =
    given:
    if given == { } then
      given
    else
      builtins.removeAttrs given [ "relatedPackages" ]
      // (
        if given.relatedPackages or null == null then
          { }
        else
          { relatedPackages = relatedPackages given.relatedPackages; }
      );

  # A list in Markdown, letter for letter that of nixpkgs' nixos/lib/make-options-doc.
  relatedPackages =
    given:
    if builtins.isString given then
      plainText given
    else
      lib.concatMapStrings (
        package:
        let
          named =
            if builtins.isAttrs package then
              package
            else if builtins.isList package then
              { path = package; }
            else
              { name = package; };
          name = plainText (named.name or (lib.concatStringsSep "." named.path));
          title = if named.title or null == null then "" else "${plainText named.title} aka ";
          comment = if named ? comment then "\n\n  ${plainText named.comment}" else "";
        in
        "- [${title}`pkgs.${name}`](\n"
        + "    https://search.nixos.org/packages?show=${name}&sort=relevance&query=${name}\n"
        + "  )${comment}\n"
      ) given;

  # nixpkgs shows the empty value as the default of an option that has none, unless the type has options of its own.
  emptyDefault =
    option:
    if
      !(option ? default || option ? defaultText)
      && option.type.emptyValue or { } ? value
      && option.type.getSubModules or null == null
    then
      { emptyDefault = describeValue option.type.emptyValue.value; }
    else
      { };

  # A value, evaluated; where that fails for good, Nix's trace tells the option and the field.
  told =
    context: id: field: v:
    if context.context == null then
      builtins.deepSeq v v
    else
      builtins.addErrorContext "${context.context}${
        builtins.toJSON [
          id
          field
        ]
      }" (builtins.deepSeq v v);

  wholeOption =
    context: loc: option:
    let
      id = lib.concatStringsSep "." loc;
      tell = field: told context id field (fields.${field} context loc option);
    in
    # What an option does not have needs no field: most have no example, and are not asked whether they are defined.
    (if option ? default || option ? defaultText then tell "default" else { })
    // (if context.required then tell "defined" else { })
    // tell "description"
    // (if option ? example then tell "example" else { })
    // tell "rest"
    // tell "type";

  # Each field by itself, and the names of those that failed.
  partsOfOption =
    context: loc: option:
    let
      id = lib.concatStringsSep "." loc;
      results = builtins.mapAttrs (
        field: describe: marked context id field (describe context loc option)
      ) fields;
      broken = builtins.filter (field: field != "defined" && !(results.${field} ? value)) (
        builtins.attrNames results
      );
    in
    builtins.foldl' (all: result: all // result.value or { }) { } (builtins.attrValues results)
    // {
      inherit broken;
    }
    // (if broken == [ ] then { } else { inherit id; });

  describeOption =
    context: path: option:
    let
      loc = context.loc ++ path;
      # Each field is evaluated to its end as soon as the record is.
      whole = builtins.tryEval (wholeOption context loc option);
    in
    (
      if
        context.trace == null
        && (context.skip == { } || !(context.skip ? ${lib.concatStringsSep "." loc}))
        && whole.success
      then
        whole.value
      else
        partsOfOption context loc option
    )
    // {
      inherit path;
    };

  # One field of one option: { value }, or { } where it is broken. tryEval lets an abort through: then the mark without
  # an end says where it happened.
  marked =
    context: id: field: v:
    if context.skip != { } && context.skip ? ${id} && builtins.elem field context.skip.${id} then
      { }
    else if context.raw then
      builtins.deepSeq v { value = v; }
    else if context.trace == null then
      attempt (told context id field v)
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
      if kind.value or null == "option" then
        [
          {
            path = here;
            option = set.${name};
          }
        ]
      else if kind.value or null == "set" then
        flatten context here set.${name}
      else if kind ? value then
        [ ]
      else
        [ { path = here; } ]
    ) (builtins.attrNames set);

  describeFound =
    context: found:
    if found ? option then
      describeOption context found.path found.option
    else
      {
        inherit (found) path;
        broken = [ "option" ];
        id = lib.concatStringsSep "." (context.loc ++ found.path);
      };

  describeTree = context: set: map (describeFound context) (flatten context [ ] set);

  # Since nixpkgs 2026-03 an option that nobody set has its type's empty value.
  emptyIsDefault =
    (builtins.tryEval
      (lib.evalModules {
        modules = [ { options.probe = lib.mkOption { type = lib.types.nullOr lib.types.str; }; } ];
      }).config.probe
    ).success;
in
{
  inherit emptyIsDefault;

  # `loc` is where the set stands. `skip` maps an option's dotted location to the fields to leave alone. `trace` is a text
  # that starts each mark on standard error, or null for none. `range` is the part { from, count } of the flat list
  # that is to be described, or null for all of it. `required` looks for what submodules define themselves.
  # `context` is a text that starts a line of Nix's trace, where an error is that nothing catches; or null.
  # `aliases` maps names of types to those of nixpkgs' types that they are described as.
  # `raw` lets every error out, those too that tryEval would catch: for the words of one, with all others in `skip`.
  describeOptions =
    {
      loc ? [ ],
      skip ? { },
      trace ? null,
      range ? null,
      required ? false,
      raw ? false,
      aliases ? { },
      context ? null,
    }:
    set:
    let
      around = {
        inherit
          context
          loc
          skip
          trace
          required
          raw
          aliases
          ;
        above = [ ];
      };
      found = flatten around [ ] set;
      part = if range == null then found else lib.sublist range.from range.count found;
      number = if range == null then 0 else range.from;
    in
    lib.imap0 (
      index: option:
      if trace == null then
        describeFound around option
      else
        builtins.trace "${trace}${
          builtins.toJSON [
            "option"
            (number + index)
          ]
        }" (describeFound around option)
    ) part;
}
