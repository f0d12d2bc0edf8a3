# A comment at the top.
#
# In paragraphs.
free: with free; {
  short = f 1 "x" y;
  simple_is_never_broken = f aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb;
  many =
    f aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
      bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
      c
      d;
  set_last = f aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa {
    x = 1;
    y = [
      1
      2
    ];
  };
  set_first = f {
    x = 1;
    y = [
      1
      2
    ];
  } aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;
  set_alone = f { x = 1; };
  lists = f [ 1 2 3 ] [ 4 5 ];
  list_before_set = f [ 1 2 ] { x = 1; };
  negative = f (-1) (-0.5);
  curried = f 1 2;
  nested = f (g {
    x = 1;
    y = [
      1
      2
    ];
  });
  of_lambda = (x: x) 1;
  lambda_last = map (x: { x = 1; }) xs;
  lambda_with_set = f (x: {
    x = 1;
    y = [
      1
      2
    ];
  });
  imported = import ./a.nix { };
  indented_string = pkgs.writeText "name" ''
    one
    two
  '';
  let_inside = f aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa (
    let
      x = 1;
    in
    x
  );
}
