# What ec-report.nix has in stage 1: one request, over a network that is there for it alone.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  cfg = config.services.every-channel.report;
  path = "services.every-channel.report.initrd";
  initrd = config.boot.initrd;

  # Somebody else's network is used as it is.
  hasNetwork = initrd.network.enable || (initrd.systemd.network.enable or false);

  busybox = lib.getExe' pkgs.busybox "busybox";
  script = pkgs.writeShellScript "every-channel-report-running" (
    builtins.readFile ./node/arguments.sh + builtins.readFile ./report-running.sh
  );
  # Stage 2 finds the cards as it would without.
  leave = pkgs.writeShellScript "every-channel-report-leave" ''
    while read -r interface; do
      ${busybox} ip address flush dev "$interface"
      ${busybox} ip link set dev "$interface" down
    done < /run/every-channel/report-interfaces
  '';
in
{
  config = lib.mkIf (cfg.enable && cfg.initrd.enable) {
    assertions = [
      {
        assertion = initrd.systemd.enable;
        message = "${path}.enable needs a stage 1 with systemd: set boot.initrd.systemd.enable, or switch it off";
      }
    ];

    boot.initrd = {
      # Raw sockets, for DHCP.
      availableKernelModules = [ "af_packet" ] ++ cfg.initrd.kernelModules;

      systemd = {
        storePaths = [
          busybox
          "${script}"
        ]
        ++ lib.optional (!hasNetwork) "${leave}";

        services.every-channel-report-running = {
          description = "Word to the boot server that the kernel runs";
          wantedBy = [ "initrd.target" ];
          # It is in nobody's way, and ends with stage 1.
          before = [ "initrd-switch-root.target" ];
          conflicts = [ "initrd-switch-root.target" ];
          unitConfig = {
            DefaultDependencies = false;
            ConditionKernelCommandLine = "every_channel.report";
          };
          # "-": however it ends, it is no failed unit; stage 2 would take that over.
          serviceConfig = {
            Type = "simple";
            ExecStart = "-${script}";
            ExecStopPost = lib.optional (!hasNetwork) "-${leave}";
            KillSignal = "SIGKILL";
            TimeoutStopSec = 30;
          };
          environment = {
            BUSYBOX = busybox;
            OWN_NETWORK = if hasNetwork then "" else "yes";
          };
        };
      };
    };
  };
}
