# A comment at the top.
#
# In paragraphs.
free: with free; [
  a.b."c d"."if"
  a.b.c
  ({
    x = 1;
    y = [
      1
      2
    ];
  }).x
  (f 1).x
  ("text").x
  a.b or null
  a.b or (f 1)
  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy
    or bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
]
