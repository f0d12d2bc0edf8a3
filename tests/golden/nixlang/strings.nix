# A comment at the top.
#
# In paragraphs.
free: with free; [
  ""
  "text"
  "a \${b} ${b} \"c\"\n"
  "${f { x = 1; }}x"
  "long ${
    f aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (
      x: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    )
  } end"
  "${f {
    x = 1;
    y = [
      1
      2
    ];
  }}"
  "${"a${b}"}"
  ''
    a

      b
  ''
  ''
    ''${a}
    $''${b}
  ''
]
