# The interval of an integer type. No payload holds it: `ints.*` and addCheck keep the functor of `int`. What the
# description claims is tried on `check`; what it does not claim is searched for with it.
{ lib, accepts }:
let
  least = -9223372036854775807 - 1;
  greatest = 9223372036854775807;

  integerNames = [
    "int"
    "intBetween"
    "positiveInt"
    "unsignedInt"
    "unsignedInt8"
    "unsignedInt16"
    "unsignedInt32"
    "signedInt8"
    "signedInt16"
    "signedInt32"
  ];

  claimed =
    description:
    let
      between = builtins.match ".*between (-?[0-9]+) and (-?[0-9]+)[^0-9]*" description;
    in
    if between != null then
      {
        min = builtins.fromJSON (builtins.elemAt between 0);
        max = builtins.fromJSON (builtins.elemAt between 1);
      }
    else if builtins.match ".*meaning >=0" description != null then
      {
        min = 0;
        max = greatest;
      }
    else if builtins.match ".*meaning >0" description != null then
      {
        min = 1;
        max = greatest;
      }
    else
      null;

  # Between two integers that are not neighbours. Newer versions of Nix fail where an integer overflows.
  middle =
    low: high:
    let
      rest = n: n - n / 2 * 2;
    in
    low / 2 + high / 2 + (rest low + rest high) / 2;

  # The last accepted integer on the way from `inside` (accepted) to `outside` (refused).
  edge =
    ok: inside: outside:
    if (if inside < outside then inside + 1 == outside else outside + 1 == inside) then
      inside
    else
      let
        probe = if inside < outside then middle inside outside else middle outside inside;
      in
      if ok probe then edge ok probe outside else edge ok inside probe;

  powers = builtins.genList (
    n: builtins.foldl' (power: _: power * 2) 1 (builtins.genList (i: i) n)
  ) 62;
  seeds = [
    0
    10
    100
    1000
    10000
    100000
    1000000
  ]
  ++ powers
  ++ map (n: n - 1) powers
  ++ map (n: -n) powers;

  # Points of an interval, its ends among them, dense near them.
  samples =
    { min, max }:
    let
      center = middle min max;
      wanted = [
        min
        max
        center
        (middle min center)
        (middle center max)
      ]
      ++ builtins.concatMap (n: [
        (if min < greatest - n then min + n else min)
        (if max > least + n then max - n else max)
      ]) (builtins.genList (n: n + 1) 5);
    in
    if min == max then [ min ] else builtins.filter (n: n >= min && n <= max) wanted;

  # All of the interval is accepted, and nothing next to it, as far as samples tell.
  isInterval =
    ok: range:
    builtins.all ok (samples range)
    && (range.min == least || !ok (range.min - 1))
    && (range.max == greatest || !ok (range.max + 1));

  # Nor anything far from it.
  isWhole = ok: range: builtins.all (n: n >= range.min && n <= range.max || !ok n) seeds;

  searched =
    ok:
    let
      found = builtins.filter ok seeds;
      seed = builtins.head found;
    in
    if found == [ ] then
      null
    else
      {
        min = if ok least then least else edge ok seed least;
        max = if ok greatest then greatest else edge ok seed greatest;
      };

  # Those of nixpkgs that are values: nearly all integer types of a tree are one of them. They are told by the identity of
  # their `check` and its description, which is all that is looked at; a function is equal to itself only as an attribute.
  known = map (type: {
    inherit (type) description;
    identity = identity type;
    described = search type;
  }) [
    lib.types.ints.u16
    lib.types.ints.unsigned
    lib.types.ints.positive
  ];
  identity = builtins.intersectAttrs { check = null; };

  describe =
    type:
    { replaced }:
    let
      same = builtins.filter (
        each: each.description == type.description && each.identity == identity type
      ) known;
    in
    if !replaced then
      { }
    else if same != [ ] then
      (builtins.head same).described
    else
      search type;

  search =
    type:
    let
      ok = accepts type;
      claim = claimed type.description;
      range = if claim != null && isInterval ok claim then claim else searched ok;
    in
    if range != null && (range == claim || isInterval ok range && isWhole ok range) then
      { bounds = range; }
    else if claim != null then
      {
        bounds = claim;
        checked = true;
      }
    else
      { checked = true; };
in
{
  inherit describe integerNames;
}
