# The unit that makes the macvtap link of the guest's LAN, and removes it. It has the rights that this takes, so that
# the guest's own unit has none over the host's network.
{
  ectools,
  lib,
  unit,
  checkedSettings,
}:
let
  inherit (import ./systemd.nix { inherit lib; }) sandbox;
  command = "${ectools} vm lan-link --config ${checkedSettings}";
in
{
  description = "every.channel guest: its link to the LAN";
  documentation = [ "https://every.channel" ];
  # The kernel must know macvtap.
  after = [
    "network-online.target"
    "systemd-modules-load.service"
  ];
  wants = [ "network-online.target" ];
  # There as long as the guest's unit is up. That does not require it, because a start that failed for it would not be
  # tried again. The runner starts no guest without the link.
  before = [ "${unit}.service" ];
  wantedBy = [ "${unit}.service" ];
  unitConfig.StopWhenUnneeded = true;

  serviceConfig = sandbox // {
    Type = "oneshot";
    RemainAfterExit = true;
    ExecStart = "${command} --user ${unit}";
    ExecStop = "${command} --remove";
    DynamicUser = true;

    Restart = "on-failure";
    RestartSec = 5;
    TimeoutStartSec = 90;
    MemoryMax = "256M";
    TasksMax = 16;

    # The second gives the link's /dev/tapN to the guest's user.
    AmbientCapabilities = [
      "CAP_NET_ADMIN"
      "CAP_CHOWN"
    ];
    CapabilityBoundingSet = [
      "CAP_NET_ADMIN"
      "CAP_CHOWN"
    ];
    IPAddressDeny = "any";
    PrivateMounts = true;
    RestrictAddressFamilies = [
      "AF_NETLINK"
      "AF_UNIX"
    ];
    SocketBindDeny = "any";
    SystemCallFilter = sandbox.SystemCallFilter ++ [ "@chown" ];
  };
}
