# Dumps: what `builtins.toJSON` makes of them is what `ectools schema … --dump` reads.
{
  lib,
  options,
  difference,
}:
let
  modules = builtins.removeAttrs (import ../nixos-modules.nix) [ "default" ];
  prefix = [
    "services"
    "every-channel"
  ];

  # A module of this repository, without a NixOS around it.
  optionsOf =
    pkgs: module:
    (lib.evalModules {
      modules = [
        module
        {
          _module.check = false;
          _module.args.pkgs = pkgs;
        }
      ];
      specialArgs.modulesPath = toString pkgs.path + "/nixos/modules";
    }).options;

  # `roots` are { prefix, path }: what stands for a directory in the declarations of options. `required` says whether
  # what has no default must be set.
  dump =
    {
      roots,
      required,
      trees,
    }:
    {
      version = 1;
      inherit (options) emptyIsDefault;
      inherit roots required trees;
    };

  # Any one set of options. Its owner knows whether what has no default must be set (`required`); else nobody does: an
  # option may be read under a condition only, or be set by another module.
  treeDump =
    {
      name,
      roots,
      set,
      skip ? { },
      trace ? null,
      range ? null,
      required ? false,
      raw ? false,
      context ? null,
      aliases ? { },
    }:
    dump {
      inherit roots required;
      trees = [
        {
          inherit name;
          path = [ ];
          options = options.describeOptions {
            inherit
              skip
              trace
              range
              required
              raw
              aliases
              context
              ;
          } set;
        }
      ];
    };
in
{
  # All modules of this repository: the module ec-NAME has the options below services.every-channel.NAME, or none.
  optionsDump =
    {
      pkgs,
      skip ? { },
      trace ? null,
      raw ? false,
      context ? null,
    }:
    dump {
      roots = [
        {
          prefix = "";
          path = toString ../..;
        }
      ];
      required = true;
      trees = builtins.concatMap (
        name:
        let
          path = prefix ++ [ (lib.removePrefix "ec-" name) ];
          tree = lib.attrByPath path null (optionsOf pkgs modules.${name});
        in
        lib.optional (tree != null) {
          inherit name path;
          options = options.describeOptions {
            inherit
              context
              raw
              skip
              trace
              ;
            loc = path;
            required = true;
          } tree;
        }
      ) (builtins.attrNames modules);
    };

  inherit treeDump;

  # The options that a module declares beyond `base`. `open` names the groups of the result that other modules have
  # options in too.
  moduleDump =
    {
      options,
      base,
      shared,
    }:
    arguments:
    let
      dump = treeDump (arguments // { set = difference.without options base; });
      withOpen =
        tree:
        tree
        // (
          if shared then
            {
              open = difference.openGroups {
                inherit base;
                inherit (tree) options;
              };
            }
          else
            { }
        );
    in
    dump // { trees = map withOpen dump.trees; };
}
