# What nixpkgs' own nixosOptionsDoc makes of options, before mergeJSON.py: declarations are relative to `roots`, as
# `transformOptions` of many a manual makes them.
{ options, roots }:
let
  lib = import <nixpkgs/lib>;
  relative =
    file:
    let
      path = toString file;
      fitting = builtins.filter (root: lib.hasPrefix "${root.path}/" path) roots;
      root = builtins.head fitting;
    in
    if fitting == [ ] then path else root.prefix + lib.removePrefix "${root.path}/" path;
in
(import <nixpkgs/nixos/lib/make-options-doc> {
  pkgs = { };
  inherit lib options;
  transformOptions = option: option // { declarations = map relative option.declarations; };
}).optionsNix
