# The options of this repository's own modules, evaluated without a NixOS around them.
{ lib, options }:
let
  modules = builtins.removeAttrs (import ../nixos-modules.nix) [ "default" ];
  prefix = [
    "services"
    "every-channel"
  ];
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
in
{
  # One dump of all modules: the module ec-NAME has the options below services.every-channel.NAME, or none.
  # `builtins.toJSON` of it is what `ectools schema check --dump` reads.
  optionsDump =
    {
      pkgs,
      skip ? { },
      trace ? null,
    }:
    {
      version = 1;
      inherit (options) emptyIsDefault;
      roots = [
        {
          prefix = "";
          path = toString ../..;
        }
      ];
      trees = builtins.concatMap (
        name:
        let
          path = prefix ++ [ (lib.removePrefix "ec-" name) ];
          tree = lib.attrByPath path null (optionsOf pkgs modules.${name});
        in
        lib.optional (tree != null) {
          inherit name path;
          options = options.describeOptions {
            inherit skip trace;
            loc = path;
          } tree;
        }
      ) (builtins.attrNames modules);
    };
}
