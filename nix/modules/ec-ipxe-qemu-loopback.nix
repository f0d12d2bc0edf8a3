# The unit that keeps the guest's user from this host's loopback, as boot.userNet.hostLoopback wants it. The nftables
# rules belong to its process, which no other program's `flush ruleset` touches, and go with it.
{
  ectools,
  lib,
  nftables,
  unit,
  checkedSettings,
}:
let
  inherit (import ./systemd.nix { inherit lib; }) sandbox;
in
{
  description = "every.channel guest: what it reaches of this host's loopback";
  documentation = [ "https://every.channel" ];
  path = [ nftables ];
  # Up as long as the guest's unit is. That does not require it, because a start that failed for it would not be tried
  # again; and the guest does not fall with it. The runner starts no guest before it is there.
  before = [ "${unit}.service" ];
  wantedBy = [ "${unit}.service" ];
  unitConfig.StopWhenUnneeded = true;

  serviceConfig = sandbox // {
    Type = "notify";
    NotifyAccess = "main";
    ExecStart = "${ectools} vm loopback-filter --config ${checkedSettings} --user ${unit}";
    DynamicUser = true;

    Restart = "always";
    RestartSec = 1;
    TimeoutStartSec = 90;
    # Without it the guest would reach the loopback: so it is the last to be killed for its memory.
    OOMScoreAdjust = -900;
    MemoryMax = "256M";
    TasksMax = 16;

    AmbientCapabilities = [ "CAP_NET_ADMIN" ];
    CapabilityBoundingSet = [ "CAP_NET_ADMIN" ];
    IPAddressDeny = "any";
    PrivateDevices = true;
    PrivateMounts = true;
    RestrictAddressFamilies = [
      "AF_NETLINK"
      "AF_UNIX"
    ];
    SocketBindDeny = "any";
  };
}
