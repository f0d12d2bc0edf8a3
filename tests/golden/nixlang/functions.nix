# A comment at the top.
#
# In paragraphs.
free: with free; {
  one = x: x;
  three =
    a: b: c:
    a;
  with_set = a: b: {
    x = 1;
    y = [
      1
      2
    ];
  };
  empty = { }: 1;
  open_only = { ... }: {
    x = 1;
    y = [
      1
      2
    ];
  };
  two = { a, b, ... }: {
    x = 1;
    y = [
      1
      2
    ];
  };
  three_names =
    {
      a,
      b,
      c,
    }:
    a;
  default =
    {
      a ? null,
      b ? {
        x = 1;
        y = [
          1
          2
        ];
      },
    }:
    a;
  bound = { a, ... }@args: args;
}
