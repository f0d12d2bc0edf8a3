# What a host with modules of this repository brings to a machine's systemd, for tests/support/switch.py.
{
  config,
  lib,
  kernelModules ? [ ],
}:
let
  isOurs = lib.hasInfix "every-channel";
  ours = lib.filterAttrs (name: _: isOurs name);
  fromRules = lib.filter (package: isOurs package.name) config.systemd.tmpfiles.packages;
  # A whole system's units are not for another distribution: the firewall is the one of NixOS' own that is.
  isWanted =
    name: unit:
    unit.enable && (isOurs name || (name == "nftables.service" && config.networking.nftables.enable));
in
{
  inherit kernelModules;
  units = lib.mapAttrs (name: unit: {
    file = "${unit.unit}/${name}";
    inherit (unit) wantedBy requiredBy;
  }) (lib.filterAttrs isWanted config.systemd.units);
  tmpfiles = map (package: "${package}/lib/tmpfiles.d/${package.name}") fromRules;
  etc = lib.mapAttrs (_: file: "${file.source}") (ours config.environment.etc);
  groups = builtins.attrNames (ours config.users.groups);
  users = lib.mapAttrs (_: user: { inherit (user) group extraGroups; }) (ours config.users.users);
}
