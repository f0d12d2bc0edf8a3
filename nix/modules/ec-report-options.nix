# The options of ec-report.nix.
{ lib, ... }:
let
  path = "services.every-channel.report";

  inherit (lib) mkOption types;
  unitName = types.strMatching (import ./systemd.nix { inherit lib; }).unitName;
in
{
  options.services.every-channel.report = {
    enable = lib.mkEnableOption ''
      reports on its boot: a machine that a boot server of every.channel has booted tells that server that its kernel
      runs, and how it came up. Where the kernel's command line has no `every_channel.report=`, nothing is done'';

    healthUnits = mkOption {
      type = types.listOf unitName;
      default = [ ];
      example = [ "every-channel-node.service" ];
      description = ''
        Units that have to be up before this system calls itself healthy, beside those that the boot server asks for
        (its kernel argument `every_channel.health_units=`). A service that is started once has to have ended well.
        Whatever is ordered before {file}`boot-complete.target` and required by it counts too, and no unit at all may have
        failed.
      '';
    };

    holdSeconds = mkOption {
      type = types.ints.between 0 3600;
      default = 10;
      example = 60;
      description = ''
        How long the system must have been healthy, with each of its health units in the same run, before it says so: a
        program that dies soon after its start is not up. What fails later is no matter of the boot.
      '';
    };

    journalKiB = mkOption {
      type = types.ints.between 0 32;
      default = 32;
      example = 8;
      description = ''
        How much of the end of the journal goes with a report that something has failed, without tokens and passwords in
        addresses. Who may look at the boot server's page reads it. 0 sends none.
      '';
    };

    initrd = {
      enable = mkOption {
        type = types.bool;
        default = false;
        example = true;
        description = ''
          Whether stage 1 says already that the kernel runs: so a boot that ends there (a disk that is not found, a
          passphrase that nobody gives) is told from one whose kernel never started. Without it stage 2 says it, once it
          has a network. It takes a stage 1 with systemd ({option}`boot.initrd.systemd.enable`), and drivers of network
          cards there. Nothing waits for it: where stage 1 is over before the network is there, stage 2 goes on.

          An address is asked for by DHCP, for this report alone: stage 2 finds the cards without one. Where stage 1 has a
          network of its own ({option}`boot.initrd.network.enable`), that one is used.
        '';
      };

      kernelModules = mkOption {
        type = types.listOf (types.strMatching "[A-Za-z0-9_-]+");
        default = [
          "atlantic"
          "e1000"
          "e1000e"
          "igb"
          "igc"
          "ixgbe"
          "r8169"
          "tg3"
          "virtio_net"
        ];
        example = [
          "bnxt_en"
          "igb"
        ];
        description = "Drivers of network cards that stage 1 has for {option}`${path}.initrd.enable`.";
      };
    };
  };
}
