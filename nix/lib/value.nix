# A Nix value as data that JSON carries without loss.
{ lib }:
let
  # A float as [ mantissa exponent ] with value = mantissa * 2^exponent: Nix before 2.12 prints six digits only.
  floatParts =
    float:
    let
      scale =
        mantissa: exponent:
        if mantissa >= 9007199254740992.0 || mantissa <= -9007199254740992.0 then
          scale (mantissa / 2.0) (exponent + 1)
        else if builtins.floor mantissa == mantissa then
          [
            (builtins.floor mantissa)
            exponent
          ]
        else
          scale (mantissa * 2.0) (exponent - 1);
    in
    scale float 0;

  isFinite = float: float - float == 0.0;

  # Whether a value is one that JSON has: no function, path or package in it, and no string that stands for a package.
  isLiteral =
    v:
    let
      type = builtins.typeOf v;
    in
    if type == "string" then
      !builtins.hasContext v
    else if type == "list" then
      builtins.all isLiteral v
    else if type == "set" then
      !(v ? _type || v ? __functor || v ? outPath) && builtins.all isLiteral (builtins.attrValues v)
    else if type == "float" then
      isFinite v
    else
      type == "bool" || type == "int" || type == "null";

  # Attribute sets are wrapped, so that the tag of a float cannot be an attribute of the user's.
  encode =
    v:
    if builtins.isList v then
      map encode v
    else if builtins.isAttrs v then
      { set = builtins.mapAttrs (_: encode) v; }
    else if builtins.isFloat v then
      { float = floatParts v; }
    else
      v;

  plainText = text: builtins.unsafeDiscardStringContext (toString text);

  show =
    v:
    plainText (
      lib.generators.toPretty {
        multiline = true;
        allowPrettyValues = true;
      } v
    );
in
rec {
  inherit plainText;

  # `{ value = …; }` for what JSON has, `{ text = …; }` for what only a Nix expression says, `{ markdown = …; }` for prose.
  describeValue =
    v:
    if v ? _type && v ? text then
      {
        ${if v._type == "literalMD" || v._type == "mdDoc" then "markdown" else "text"} = plainText v.text;
      }
    else if isLiteral v then
      { value = encode v; }
    else
      { text = show v; };

  # What stands for a default in the documentation: words as nixpkgs' own documentation shows them, else as above.
  describeText = v: if builtins.isString v then { text = show v; } else describeValue v;

  # An undefined result and one that throws are the same to tryEval's caller: `{ }`.
  attempt =
    v:
    let
      result = builtins.tryEval (builtins.deepSeq v v);
    in
    if result.success then { value = result.value; } else { };
}
