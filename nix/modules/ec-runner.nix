# The runner profile: what an unattended box of every.channel has in common with the others.
{
  config,
  lib,
  options,
  ...
}:
let
  cfg = config.services.every-channel.runner;

  # In a checkout there is more than the flake's source. Where there is not, this is the flake's own store path.
  source = builtins.path {
    path = ../..;
    name = "source";
    filter =
      file: _type:
      !builtins.elem (baseNameOf file) [
        ".cache"
        ".git"
        ".hypothesis"
        ".mypy_cache"
        ".pytest_cache"
        ".ruff_cache"
        ".venv"
        "__pycache__"
        "result"
      ];
  };

  inherit (import ./systemd.nix { inherit lib; }) volatileJournal;
  inherit (lib) mkDefault mkOption types;
in
{
  imports = [
    ./tools.nix
    ./ec-report.nix
    ./ec-runner-follow.nix
    ./ec-runner-hardware.nix
    ./ec-runner-overlay-root.nix
    ./ec-runner-store.nix
    ./ec-runner-store-cache.nix
  ];

  options.services.every-channel.runner = {
    enable = lib.mkEnableOption ''
      the runner profile: `ectools` and the flake's source on the system, and defaults for a box that nobody looks
      after: a journal in memory, weekly collection of the Nix store, a bounded boot menu'';

    flake = mkOption {
      type = types.path;
      default = source;
      defaultText = lib.literalMD "the source of the flake that this module comes from";
      example = lib.literalExpression "self";
      description = ''
        Source of the flake that has this system among its `nixosConfigurations`. It stands, read-only, at
        {file}`/etc/every-channel/flake`, where `ectools verify-closure` builds the system from again. A flake that
        imports this module sets it to its own `self`.
      '';
    };

    configuration = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "ec-runner-x86_64";
      description = ''
        Name of this system among the flake's `nixosConfigurations`: what `ectools verify-closure` builds that is told
        no other.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.etc = {
      "every-channel/flake".source = cfg.flake;
      "every-channel/configuration" = lib.mkIf (cfg.configuration != null) {
        text = cfg.configuration + "\n";
      };
    };
    environment.systemPackages = [ config.services.every-channel.toolsPackage ];

    services.every-channel.report.enable = mkDefault true;

    # What building from the flake takes.
    nix.settings.experimental-features = [
      "nix-command"
      "flakes"
    ];

    services.journald = volatileJournal options.services.journald;

    nix.gc = {
      # nixpkgs asserts that there is a Nix; the publisher guest's profile does without.
      automatic = mkDefault config.nix.enable;
      dates = mkDefault "weekly";
      options = mkDefault "--delete-older-than 14d";
    };

    boot.loader = {
      generic-extlinux-compatible.configurationLimit = mkDefault 10;
      grub.configurationLimit = mkDefault 10;
      systemd-boot.configurationLimit = mkDefault 10;
    };
  };
}
