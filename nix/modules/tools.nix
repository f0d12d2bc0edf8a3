# What the modules share: the package whose programs their units start, and what must hold between them.
{
  config,
  lib,
  options,
  pkgs,
  ...
}:
let
  path = "services.every-channel";
  services = config.services.every-channel;
  inherit
    (import ./directories.nix {
      inherit lib path;
      user = null;
    })
    isBelow
    ;

  # Not every system imports both.
  isEnabled = name: services.${name}.enable or false;
  inherit (services) ipxe-qemu netboot;

  # The addresses at which both listen: one has to be turned away, and does not start.
  guestServer = ipxe-qemu.boot.http;
  ofNetboot = {
    httpPort = {
      address = netboot.listenIP;
      port = netboot.httpPort;
    };
  }
  // lib.optionalAttrs (netboot.fleet.listen != null && !lib.hasPrefix "[" netboot.fleet.listen) {
    "fleet.listen" = {
      address = lib.head (lib.splitString ":" netboot.fleet.listen);
      port = lib.toIntBase10 (lib.last (lib.splitString ":" netboot.fleet.listen));
    };
  };
  isTakenByGuest =
    listener:
    listener.port == guestServer.port
    && (
      guestServer.bindIp == listener.address
      || lib.any (each: each == "0.0.0.0") [
        guestServer.bindIp
        listener.address
      ]
    );
  taken = lib.attrNames (lib.filterAttrs (_: isTakenByGuest) ofNetboot);
in
{
  options.services.every-channel.toolsPackage = lib.mkOption {
    type = lib.types.package;
    default = pkgs.callPackage ../package.nix { };
    defaultText = lib.literalExpression "pkgs.callPackage ./nix/package.nix { }";
    description = ''
      The `ectools` package: the programs that the every.channel units start, and the checker that their settings
      files pass when the system is built. (Where that is done on another platform, the checker is this project's own for the
      latter.)
    '';
  };

  config.assertions = [
    {
      assertion =
        isEnabled "ipxe-qemu" && isEnabled "netboot"
        -> !isBelow ipxe-qemu.stateDir netboot.stateDir && !isBelow netboot.stateDir ipxe-qemu.stateDir;
      message = "${path}.netboot.stateDir and ${path}.ipxe-qemu.stateDir must be apart, because each is given to another user";
    }
    {
      assertion =
        isEnabled "ipxe-qemu"
        && isEnabled "netboot"
        # Where it is not, that is said by an assertion of its own.
        && options.services.every-channel.netboot.listenIP.isDefined
        && guestServer.enable
        && guestServer.port != 0
        -> taken == [ ];
      message =
        "${path}.ipxe-qemu.boot.http listens where netboot.${lib.concatStringsSep " and " taken} does: "
        + "set ipxe-qemu.boot.http.port to another port, or its bindIp to another address of this host";
    }
  ];
}
