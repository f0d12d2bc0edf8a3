# What `ectools schema` asks of Nix: `request` is data, `value` is what the user's expression yields (null for the modules
# of this repository), and the answer is the JSON text of a dump.
request: value:
let
  # The nixpkgs that was named, else <nixpkgs>, else the one that the flake's lock file pins.
  nixpkgs =
    let
      onPath = builtins.tryEval <nixpkgs>;
      lock = builtins.fromJSON (builtins.readFile request.lock);
      pinned = lock.nodes.${lock.nodes.${lock.root}.inputs.nixpkgs}.locked;
    in
    if request.nixpkgs != null then
      request.nixpkgs
    else if onPath.success then
      toString onPath.value
    else if request.lock != null then
      fetchTarball {
        url = "https://github.com/${pinned.owner}/${pinned.repo}/archive/${pinned.rev}.tar.gz";
        sha256 = pinned.narHash;
      }
    else
      throw "no nixpkgs: <nixpkgs> is not on NIX_PATH, and there is no flake.lock to take one from";

  library = import ./default.nix { lib = import (nixpkgs + "/lib"); };

  set = if value ? options && value ? config then value.options else value;

  dump =
    if value == null then
      library.optionsDump {
        pkgs = import nixpkgs {
          config = { };
          overlays = [ ];
        };
        inherit (request) skip trace raw;
      }
    else
      library.treeDump {
        inherit set;
        inherit (request)
          name
          range
          raw
          required
          skip
          trace
          ;
        roots = request.roots ++ [
          {
            prefix = "nixpkgs/";
            path = nixpkgs;
          }
        ];
      };
in
if value == null || builtins.isAttrs value then
  builtins.toJSON dump
else
  throw "the expression yields a ${builtins.typeOf value} where a set of options was expected"
