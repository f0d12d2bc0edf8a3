# The flake's apps for one system.
{ pkgs, ectools, ... }:
let
  app = description: program: {
    type = "app";
    inherit program;
    meta = { inherit description; };
  };
in
{
  ectools = app "The ectools command" (pkgs.lib.getExe ectools);
  default = app "The ectools command" (pkgs.lib.getExe ectools);
}
