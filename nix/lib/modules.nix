# The options of one module that was written for NixOS, home-manager, nix-darwin or flake-parts, or for none of them.
#
# It is evaluated among the modules that it was written for, where these can be found: in `frameworks`, else on NIX_PATH;
# NixOS in nixpkgs itself. Else it is evaluated alone. What it defines without a declaration is let through either way.
{ lib, nixpkgs }:
let
  stub = import ./flake-parts-stub.nix { inherit lib; };

  # The source of a framework, by the first of its names that is known; null where none is. In `frameworks`, a locked
  # reference is fetched only when it is needed.
  locate =
    frameworks: names:
    let
      known = builtins.filter (name: frameworks ? ${name}) names;
      onPath = builtins.filter (found: found.success) (
        map (name: builtins.tryEval (toString (builtins.findFile builtins.nixPath name))) names
      );
      framework = frameworks.${builtins.head known};
    in
    if known != [ ] then
      framework.path or "${(builtins.fetchTree framework.locked).outPath}"
    else if onPath != [ ] then
      (builtins.head onPath).value
    else
      null;

  packages =
    system:
    import nixpkgs {
      inherit system;
      config = { };
      overlays = [ ];
    };

  common = system: {
    _module.check = false;
    _module.args.pkgs = lib.mkForce (packages system);
  };

  evalModules =
    {
      class ? null,
      library ? lib,
      modules,
      path,
      system ? "x86_64-linux",
    }:
    (library.evalModules {
      inherit class;
      modules = [ (common system) ] ++ modules;
      specialArgs.modulesPath = path;
    }).options;

  evalNixos =
    modules:
    (import (nixpkgs + "/nixos/lib/eval-config.nix") {
      inherit lib;
      system = null;
      modules = [
        (common "x86_64-linux")
        { nixpkgs.hostPlatform = "x86_64-linux"; }
      ]
      ++ modules;
    }).options;

  evalHomeManager =
    path: modules:
    let
      library = import (path + "/modules/lib/stdlib-extended.nix") lib;
    in
    evalModules {
      inherit library;
      class = "homeManager";
      path = path + "/modules";
      modules =
        modules
        ++ import (path + "/modules/modules.nix") {
          check = false;
          lib = library;
          pkgs = packages "x86_64-linux";
        };
    };

  evalDarwin =
    path: modules:
    let
      baseModules = import (path + "/modules/module-list.nix");
    in
    evalModules {
      class = "darwin";
      path = path + "/modules";
      system = "aarch64-darwin";
      modules = modules ++ baseModules ++ [ { _module.args = { inherit baseModules modules; }; } ];
    };

  evalFlakeParts =
    path: modules:
    let
      self = {
        _type = "flake";
        inputs = { };
        outPath = path;
        sourceInfo.outPath = path;
      };
      flake = (import (path + "/flake.nix")).outputs {
        inherit self;
        nixpkgs-lib = { inherit lib; };
      };
    in
    (flake.lib.evalFlakeModule
      {
        inherit self;
        inputs = { inherit self; };
      }
      {
        _module.check = false;
        imports = modules;
      }
    ).options;

  evalFlakeStub =
    modules:
    (lib.evalModules {
      class = "flake";
      modules = [
        { _module.check = false; }
        stub.module
      ]
      ++ modules;
      inherit (stub) specialArgs;
    }).options;

  alone = class: { inherit class; } // { path = "/"; };

  # For each class, what evaluates modules of it; `within` says whether that is among the modules of a framework.
  evaluators =
    frameworks:
    let
      homeManager = locate frameworks [ "home-manager" ];
      darwin = locate frameworks [
        "nix-darwin"
        "darwin"
      ];
      flakeParts = locate frameworks [ "flake-parts" ];
      orAlone =
        class: found: evaluate:
        if found then
          {
            inherit evaluate;
            within = true;
          }
        else
          {
            evaluate = modules: evalModules (alone class // { inherit modules; });
            within = false;
          };
    in
    {
      nixos = orAlone "nixos" (builtins.pathExists (nixpkgs + "/nixos/lib/eval-config.nix")) evalNixos;
      homeManager = orAlone "homeManager" (homeManager != null) (evalHomeManager homeManager);
      darwin = orAlone "darwin" (darwin != null) (evalDarwin darwin);
      flake =
        if flakeParts != null then
          {
            evaluate = evalFlakeParts flakeParts;
            within = true;
          }
        else
          {
            evaluate = evalFlakeStub;
            within = true;
          };
      generic = orAlone null false null;
    };

  classOf =
    module: class:
    if class != null then
      class
    else if builtins.isAttrs module && module ? _class && module._class != null then
      module._class
    else
      "nixos";
in
{
  # { options, base }: the options with the module, and those that are there without it.
  # A module of a class that nobody knows is evaluated alone.
  optionsOfModule =
    {
      module,
      class,
      frameworks,
    }:
    let
      known = evaluators frameworks;
      chosen = known.${classOf module class} or known.generic;
    in
    {
      options = builtins.removeAttrs (chosen.evaluate [ module ]) [ "_module" ];
      base = if chosen.within then chosen.evaluate [ ] else { };
      # A module alone does not show which groups other modules declare options in.
      shared = chosen.within || classOf module class != "generic";
    };
}
