# The nixosConfigurations of a fleet: one for each group, and with `withNodes` one for each of its nodes too.
#
#   file         the fleet file, TOML or JSON; or `fleet`, the same as a value
#   modules      group → the NixOS modules of its machines
#   withNodes    whether each node has a configuration of its own, of its group's modules and of its own
#   nodeModules  node → its own modules
#   nixpkgs      the flake whose NixOS they are; this project's without it
#   nixosSystem  makes a configuration of modules, where that is to be another than nixpkgs'
#
# The modules are called with `fleetMember` too: { name, group, node }, as they stand in the fleet; node is null in a group's
# own configuration. What makes no difference to a configuration is `ectools fleet check`'s to look at.
own:
{
  file ? null,
  fleet ? null,
  modules,
  withNodes ? false,
  nodeModules ? { },
  nixpkgs ? own,
  nixosSystem ? nixpkgs.lib.nixosSystem,
}:
let
  inherit (nixpkgs) lib;
  # Above what a profile of this project says (1100), and below a default of the modules' own (1000).
  byFleet = lib.mkOverride 1050;
  inherit (import ../modules/system-names.nix) isArm64;
  fail = message: throw "lib.fleet: ${message}";

  read =
    if fleet != null then
      fleet
    else if file == null then
      fail "file or fleet has to be given"
    else if lib.hasSuffix ".toml" (toString file) then
      builtins.fromTOML (builtins.readFile file)
    else if lib.hasSuffix ".json" (toString file) then
      builtins.fromJSON (builtins.readFile file)
    else
      fail "${toString file}: Nix reads TOML (*.toml) and JSON (*.json) alone";
  groups = read.groups or { };
  nodes = read.nodes or { };

  groupOf = name: nodes.${name}.group or null;
  # A node of neither has nothing that a configuration could be made of: it boots what everybody boots.
  ownNodes = lib.optionals withNodes (
    lib.filter (name: groupOf name != null || nodeModules ? ${name}) (lib.attrNames nodes)
  );

  # Names that lead nowhere, each with what was expected.
  notIn =
    known: what:
    lib.concatMap (name: lib.optional (!(known ? ${name})) "${name} is no ${what} of the fleet");
  problems =
    notIn groups "group" (lib.attrNames modules ++ lib.remove null (map groupOf ownNodes))
    ++ notIn nodes "node" (lib.attrNames nodeModules)
    ++ map (name: "modules.${name} is missing: what this group's machines are") (
      lib.filter (name: !(modules ? ${name})) (lib.attrNames groups)
    )
    ++ map (name: "${name} is a group and a node: one of them needs another name") (
      lib.filter (name: groups ? ${name}) ownNodes
    )
    ++ lib.optional (!withNodes && nodeModules != { }) "nodeModules take withNodes";

  ofGroup = name: {
    inherit name;
    group = groups.${name};
    node = null;
  };
  ofNode = name: {
    inherit name;
    group = if groupOf name == null then { } else groups.${groupOf name};
    node = nodes.${name};
  };

  build =
    member: base:
    let
      labels = lib.splitString "." member.name;
      said = member.node.boot or null;
      boot = if said != null then said else member.group.boot or "network";
    in
    nixosSystem {
      modules = base ++ [
        (
          { lib, options, ... }:
          {
            config = lib.mkMerge [
              {
                _module.args.fleetMember = member;

                nixpkgs.hostPlatform = byFleet (
                  if isArm64 (toString (member.group.system or "")) then "aarch64-linux" else "x86_64-linux"
                );
                # A host name is one label (hostname(5)).
                networking.hostName = byFleet (lib.head labels);
                networking.domain = lib.mkIf (lib.length labels > 1) (
                  byFleet (lib.concatStringsSep "." (lib.tail labels))
                );
                # Who boots from the network gets them from the boot server. What is installed boots from the disk.
                boot.kernelParams = lib.mkIf (boot == "disk" || boot == "install") (
                  member.group.kernelArguments or [ ] ++ member.node.kernelArguments or [ ]
                );
              }
              (lib.optionalAttrs (options ? services.every-channel.report) {
                services.every-channel.report.healthUnits = member.group.healthUnits or [ ];
              })
            ];
          }
        )
      ];
    };
in
if problems != [ ] then
  fail (lib.concatStringsSep "; " problems)
else
  lib.mapAttrs (name: build (ofGroup name)) modules
  // lib.genAttrs ownNodes (
    name:
    build (ofNode name) (
      lib.optionals (groupOf name != null) modules.${groupOf name} ++ nodeModules.${name} or [ ]
    )
  )
