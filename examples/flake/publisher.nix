# A publisher without a disk, with a daemon that you bring.
{ pkgs, ... }:
{
  services.every-channel.publisher-guest.enable = true;

  services.every-channel.node = {
    # A stand-in for your own: it shows its settings and waits.
    package = pkgs.writeShellScriptBin "ec-node" ''
      cat "$2"
      exec sleep infinity
    '';
    settings.log.level = "info";
    # A file that is on the machine, and never in the Nix store.
    credentials.publish-key = "/run/secrets/publish-key";
  };
}
