# A comment at the top.
#
# In paragraphs.
free: with free; {
  short = if a then 1 else 2;
  long =
    if a then
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    else
      bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb;
  chain =
    if a then
      aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    else if b then
      bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    else
      null;
  asserted =
    assert f 1;
    {
      x = 1;
      y = [
        1
        2
      ];
    };
  scoped = with a; with b; [ c ];
  bound =
    let
      x = -1;
    in
    { y }:
    x;
}
