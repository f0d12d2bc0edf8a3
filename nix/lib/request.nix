# What `ectools schema` asks of Nix: `request` is data, `value` is what the user's expression yields (null for the modules
# of this repository; a module where `request.module` is set), and the answer is the JSON text of a dump.
request: value:
let
  module = request.module or null;

  # The nixpkgs that was named, else that of the module's flake, else <nixpkgs>, else the one that the flake's lock file
  # pins.
  nixpkgs =
    let
      onPath = builtins.tryEval <nixpkgs>;
      lock = builtins.fromJSON (builtins.readFile request.lock);
      pinned = lock.nodes.${lock.nodes.${lock.root}.inputs.nixpkgs}.locked;
    in
    if request.nixpkgs != null then
      request.nixpkgs
    else if module != null && module.nixpkgs != null then
      "${(builtins.fetchTree module.nixpkgs).outPath}"
    else if onPath.success then
      toString onPath.value
    else if request.lock != null then
      fetchTarball {
        url = "https://github.com/${pinned.owner}/${pinned.repo}/archive/${pinned.rev}.tar.gz";
        sha256 = pinned.narHash;
      }
    else
      throw "no nixpkgs: <nixpkgs> is not on NIX_PATH, and there is no flake.lock to take one from";

  lib = import (nixpkgs + "/lib");
  library = import ./default.nix { inherit lib; };
  modules = import ./modules.nix { inherit lib nixpkgs; };

  set = if value ? options && value ? config then value.options else value;

  dump =
    if value == null then
      library.optionsDump {
        pkgs = import nixpkgs {
          config = { };
          overlays = [ ];
        };
        inherit (request) skip trace raw;
        context = request.context or null;
      }
    else if module != null then
      library.moduleDump (modules.optionsOfModule {
        module = value;
        inherit (module) class frameworks;
      }) arguments
    else
      library.treeDump (arguments // { inherit set; });

  arguments = {
    inherit (request)
      name
      range
      raw
      required
      skip
      trace
      ;
    aliases = request.aliases or { };
    context = request.context or null;
    roots = request.roots ++ [
      {
        prefix = "nixpkgs/";
        path = nixpkgs;
      }
    ];
  };
in
if value == null || module != null || builtins.isAttrs value then
  builtins.toJSON dump
else
  throw "the expression yields a ${builtins.typeOf value} where a set of options was expected"
