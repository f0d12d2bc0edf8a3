# The module system's verdict on values: `cases` are { path, value }, the answer is a list of booleans. The
# number of each case is said on standard error, behind `mark`, before it is tried.
#
# `deep` forces the merged value whole, defaults and all. Otherwise only what the given value holds is forced, because the
# defaults of NixOS's options need a configuration.
{ set, deep }:
{ cases, mark }:
let
  # Below an option stand those of its submodule.
  follow = builtins.foldl' (
    inner: name:
    (if inner._type or null == "option" then inner.type.getSubOptions [ ] else inner).${name}
  ) set;

  forceLike =
    given: result:
    if builtins.isAttrs given && builtins.isAttrs result then
      builtins.all (name: if result ? ${name} then forceLike given.${name} result.${name} else true) (
        builtins.attrNames given
      )
    else if
      builtins.isList given && builtins.isList result && builtins.length given == builtins.length result
    then
      builtins.all (index: forceLike (builtins.elemAt given index) (builtins.elemAt result index)) (
        builtins.genList (index: index) (builtins.length given)
      )
    else
      builtins.seq result true;

  verdict =
    { path, value }:
    let
      merged =
        (lib.mergeDefinitions path (follow path).type [
          {
            file = "<test>";
            inherit value;
          }
        ]).mergedValue;
    in
    (builtins.tryEval (if deep then builtins.deepSeq merged true else forceLike value merged)).success;

  lib = import <nixpkgs/lib>;
in
builtins.genList (
  index: builtins.trace "${mark}${toString index}" (verdict (builtins.elemAt cases index))
) (builtins.length cases)
