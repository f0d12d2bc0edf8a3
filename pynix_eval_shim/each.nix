# Says the attributes of a set on standard error, one after the other in the order of their names: first a line with all
# names, then a line [ name value ] for each, from number `start` on. A line begins with `mark`. An evaluation that dies
# was at the attribute after the last line.
{
  encode,
  mark,
  start,
}:
set:
let
  names = builtins.attrNames set;
  say = what: builtins.trace "${mark}${builtins.toJSON what}" null;
in
builtins.foldl'
  (
    said: name:
    builtins.seq said (say [
      name
      (encode set.${name})
    ])
  )
  (if start == 0 then say names else null)
  (builtins.genList (index: builtins.elemAt names (start + index)) (builtins.length names - start))
