# A runner that comes over the network as a whole, at each boot: without what nobody uses on it. A flake that builds on
# this one brings back what it needs.
{ lib, options, ... }:
let
  inherit (lib) mkDefault;
in
{
  config = lib.mkMerge [
    {
      # It is updated by a new release, not in place, and has no channel to find a missing command in.
      nix.channel.enable = mkDefault false;
      system.disableInstallerTools = mkDefault true;
      programs.command-not-found.enable = mkDefault false;

      # Whoever logs in comes to look, not to stay.
      documentation.enable = mkDefault false;
      environment.defaultPackages = mkDefault [ ];
      fonts.fontconfig.enable = mkDefault false;
      programs.less.lessopen = mkDefault null;
      programs.nano.enable = mkDefault false;
      xdg = {
        autostart.enable = mkDefault false;
        icons.enable = mkDefault false;
        mime.enable = mkDefault false;
        sounds.enable = mkDefault false;
      };

      # NixOS's own, which Perl is there for.
      boot.enableContainers = mkDefault false;

      # It came by wire.
      services.every-channel.runner.hardware.exclude = mkDefault [
        "audio"
        "bluetooth"
        "clusters"
        "gadgets"
        "graphics"
        "handheld"
        "instruments"
        "legacy"
        "media"
        "radio"
        "rdma"
        "san"
        "staging"
        "wireless"
      ];
    }
    # The source of nixpkgs, which a system of a flake carries for `nix run nixpkgs#…`. `ectools verify-closure` fetches
    # what the lock pins.
    (lib.optionalAttrs (options ? nixpkgs.flake.setFlakeRegistry) {
      nixpkgs.flake = {
        setFlakeRegistry = mkDefault false;
        setNixPath = mkDefault false;
      };
    })
  ];
}
