# The options of ec-ipxe-qemu.nix below `lan`: the guest's second NIC.
{ lib, ... }:
let
  inherit (lib) mkOption types;
in
{
  options.services.every-channel.ipxe-qemu.lan = {
    enable = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = ''
        Whether to enable a second NIC on a real LAN, through macvtap. A switch of the host that turns it off removes the
        link at once, also where `restartIfChanged` leaves the guest running: that guest has no LAN until it is restarted.
      '';
    };

    model = mkOption {
      type = types.str;
      default = "virtio-net-pci";
      example = "e1000e";
      description = "Device model of the LAN NIC, as QEMU's `-device` takes it.";
    };

    macvtap = {
      interface = mkOption {
        type = types.nullOr types.str;
        default = null;
        example = "enp3s0";
        description = ''
          The host's interface on that LAN. Host and guest cannot reach each other over it: that is how macvtap
          works, in every mode.
        '';
      };

      name = mkOption {
        type = types.str;
        default = "ecqemu0";
        example = "ecguest1";
        description = ''
          Name of the macvtap link, at most 15 bytes. It is made at start and removed at the end; a link of that name
          that was not made for this guest is left alone, and the start fails. It has the guest's hardware address, and
          none of IPv4 or IPv6: dhcpcd, NetworkManager and systemd-networkd of a NixOS leave it alone.
        '';
      };

      mode = mkOption {
        type = types.enum [
          "private"
          "vepa"
          "bridge"
          "passthru"
          "source"
        ];
        default = "bridge";
        description = "Mode of the macvtap link, as ip-link(8) describes it.";
      };

      macAddress = mkOption {
        type = types.nullOr (types.strMatching "[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}");
        default = null;
        example = "02:ec:00:00:00:01";
        description = ''
          Hardware address of the link and of the guest's LAN NIC. Null derives one from this machine's
          identity, the guest's name and its state directory, so that it stays the same from start to start. In the mode
          `passthru` the link has its interface's own address, and this is not used.
        '';
      };
    };
  };
}
