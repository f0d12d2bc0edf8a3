# What ec-netboot.nix asserts of its options; the rest of what makes settings wrong is found when they are built.
{
  cfg,
  dnsmasqVersion,
  options,
  directories,
  lib,
  path,
}:
let
  inherit (import ./systemd.nix { inherit lib; }) refuseStorePath;
  inherit (builtins.fromJSON (builtins.readFile ../../ectools/netboot/protocols.json)) binaries stock;

  # `option` has a value where `condition` holds, which `when` says.
  needs = condition: when: option: {
    assertion = condition -> lib.attrByPath (lib.splitString "." option) null cfg != null;
    message = "${path}.${option} must be set when ${when}";
  };
  strategyNeeds =
    strategy: map (needs (cfg.ipxe.strategy == strategy) ''ipxe.strategy is "${strategy}"'');

  # As parse_subnet of ectools/netboot/settings/checks.py has it.
  hasClients =
    subnet:
    let
      numbers = map lib.toIntBase10 (lib.match "([0-9]+)[.].*/([0-9]+)" subnet);
      first = lib.head numbers;
      prefix = lib.last numbers;
    in
    prefix > 0 && prefix <= 30 && first != 0 && first != 127 && first < 224;
  proxySubnet = option: subnet: {
    assertion = hasClients subnet;
    message = "${path}.proxyDhcp.${option} must be the clients' network: no client is in ${subnet}";
  };

  inherit (cfg.release) signature;

  # The groups of the fleet that say something by this option.
  groupsOf =
    option: lib.attrNames (lib.filterAttrs (_: group: group.${option} != null) cfg.fleet.groups);
  torn = lib.intersectLists (groupsOf "channel") (groupsOf "release");
  inherit (import ./system-names.nix) mayBeArm64;

  # The names in the TFTP directory, as a file system compares them that ignores case.
  names = map lib.toLower (
    lib.attrNames cfg.ipxe.extraFiles
    ++ [ cfg.tftpBootFilename ]
    ++ lib.mapAttrsToList (_: binary: binary.filename) (removeAttrs binaries [ "x86_64" ])
    ++ lib.attrValues stock
  );
  parentsOf =
    name:
    let
      parts = lib.init (lib.splitString "/" name);
    in
    lib.genList (count: lib.concatStringsSep "/" (lib.take (count + 1) parts)) (lib.length parts);
  twice = lib.filter (name: lib.count (other: other == name) names > 1) (lib.unique names);
  isBootName =
    name:
    builtins.match "[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*" name != null
    && lib.stringLength name <= 127
    && lib.length (lib.splitString "/" name) <= 8;
  # What the boot server has there itself (ectools/netboot/settings/boot_names.py).
  isTaken =
    name:
    let
      parts = lib.splitString "/" (lib.toLower name);
    in
    lib.elem (lib.head parts) [
      "healthz"
      "netboot.ipxe"
      "releases"
    ]
    || lib.last parts == "autoexec.ipxe";
  bootNames = lib.attrNames cfg.ipxe.extraFiles;
  quoteAll = lib.concatMapStringsSep ", " builtins.toJSON;
  refuseNames = found: rule: {
    assertion = found == [ ];
    message = "${path}.ipxe.extraFiles: ${quoteAll found}: ${rule}";
  };
in
[
  {
    assertion = options.listenIP.isDefined;
    message = "${path}.listenIP must be set: this host's IPv4 address on the clients' network";
  }
  (needs cfg.proxyDhcp.enable "proxyDhcp.enable is true" "proxyDhcp.subnet")
  (needs (
    signature.format != null
  ) "release.signature.format is set" "release.signature.publicKeyFile")
  (needs (
    signature.publicKeyFile != null
  ) "release.signature.publicKeyFile is set" "release.signature.format")
  {
    assertion = cfg.release.tag == null || cfg.release.tarball == null;
    message = "${path}.release.tag must be null when release.tarball is set: a tarball takes the release's place";
  }
  {
    assertion = cfg.release.source == null || cfg.release.tarball == null;
    message = "${path}.release.source must be null when release.tarball is set: a tarball takes the release's place";
  }
  {
    assertion = cfg.release.channel == null || cfg.release.tarball == null && cfg.release.tag == null;
    message = "${path}.release.channel must be null when release.tag or release.tarball is set: they say which release";
  }
  {
    assertion =
      cfg.release.source == null
      || lib.hasPrefix "forge:" cfg.release.source
      || cfg.release.channel != null
      || cfg.release.tag != null
      || cfg.release.tarball != null;
    message =
      "${path}.release.channel or release.tag must be set when release.source is no forge: "
      + "nothing else says which release is wanted";
  }
  {
    assertion = signature.format != null || cfg.release.channel == null && groupsOf "channel" == [ ];
    message =
      "${path}.release.signature must be set when release.channel or a group's channel is: "
      + "who leads a channel is known by its signature";
  }
  {
    assertion = cfg.ipxe.strategy != "embedded" || cfg.chainTokenFile == null;
    message =
      ''${path}.ipxe.strategy must not be "embedded" when chainTokenFile is set: ''
      + "the script with the token would be in the Nix store, which everyone can read";
  }
  (refuseNames (lib.filter (name: !isBootName name) bootNames) (
    "a name has letters, digits and . _ + -, below up to 7 directories where wanted, and at most 127 characters"
  ))
  (refuseNames (lib.filter isTaken (
    bootNames ++ [ cfg.tftpBootFilename ]
  )) "the boot server has something of its own there")
  (refuseNames twice "two files cannot have one name, whatever its case; tftpBootFilename is one of them")
  (refuseNames (lib.filter (name: lib.elem name names) (
    lib.concatMap parentsOf names
  )) "a directory cannot have the name of a file")
  {
    assertion =
      cfg.ipxe.arm64File == null
      || cfg.release.systems == [ ]
      || lib.any mayBeArm64 cfg.release.systems;
    message =
      "${path}.release.systems must name a system for aarch64 when ipxe.arm64File is set: "
      + "its machines would be let in, and there would be nothing for them";
  }
  {
    # As check_proxy_version of ectools/netboot/dnsmasq/check.py has it.
    assertion = cfg.proxyDhcp.enable -> builtins.match "2[.]92([^0-9].*)?" dnsmasqVersion == null;
    message =
      "${path}.proxyDhcp.enable: dnsmasq ${dnsmasqVersion} sends the answers of UDP port 4011 to the wrong port, "
      + "and UEFI clients get no boot file: take 2.93, or 2.91";
  }
  {
    assertion =
      lib.any (group: group.bootBinary != null) (lib.attrValues cfg.fleet.groups)
      -> cfg.proxyDhcp.enable && cfg.ipxe.strategy == "autoexec";
    message =
      "${path}.fleet.groups: bootBinary takes proxyDhcp.enable and ipxe.strategy \"autoexec\": "
      + "DHCP says which machine gets which";
  }
  {
    assertion = cfg.fleet.accessTokenFile != null -> cfg.fleet.listen != null;
    message = "${path}.fleet.listen must be set when fleet.accessTokenFile is set: nobody could send the token";
  }
  {
    assertion = cfg.fleet.allowedHosts != [ ] -> cfg.fleet.listen != null;
    message = "${path}.fleet.listen must be set when fleet.allowedHosts is: nothing is asked for by a name";
  }
  {
    assertion =
      cfg.fleet.stateCredentialsFile != null || cfg.fleet.stateCaFile != null -> cfg.fleet.state != null;
    message =
      "${path}.fleet.state must be set when fleet.stateCredentialsFile or fleet.stateCaFile is set: "
      + "there is no server to use them with";
  }
  (refuseStorePath "${path}.chainTokenFile" cfg.chainTokenFile)
  (refuseStorePath "${path}.fleet.accessTokenFile" cfg.fleet.accessTokenFile)
  (refuseStorePath "${path}.fleet.stateCredentialsFile" cfg.fleet.stateCredentialsFile)
  (refuseStorePath "${path}.release.credentialsFile" cfg.release.credentialsFile)
  (refuseStorePath "${path}.release.tokenFile" cfg.release.tokenFile)
  {
    assertion = torn == [ ];
    message = "${path}.fleet.groups: ${quoteAll torn}: channel and release exclude each other";
  }
]
++ lib.optional (cfg.proxyDhcp.subnet != null) (proxySubnet "subnet" cfg.proxyDhcp.subnet)
++ map (proxySubnet "subnets") cfg.proxyDhcp.subnets
++ strategyNeeds "embedded" [ "ipxe.embeddedFile" ]
++ strategyNeeds "local" [ "ipxe.localFile" ]
++ strategyNeeds "remote" [
  "ipxe.remoteUrl"
  "ipxe.remoteSha256"
]
++ directories.refuseHidden {
  inherit (cfg) stateDir;
  "fleet.file" = cfg.fleet.file;
  "fleet.stateCaFile" = cfg.fleet.stateCaFile;
  "ipxe.arm64File" = cfg.ipxe.arm64File;
  "ipxe.biosFile" = cfg.ipxe.biosFile;
  "ipxe.embeddedFile" = if cfg.ipxe.strategy == "embedded" then cfg.ipxe.embeddedFile else null;
  "ipxe.ia32File" = cfg.ipxe.ia32File;
  "ipxe.localFile" = if cfg.ipxe.strategy == "local" then cfg.ipxe.localFile else null;
  "ipxe.remoteCaFile" = if cfg.ipxe.strategy == "remote" then cfg.ipxe.remoteCaFile else null;
  "release.caFile" = cfg.release.caFile;
  "release.signature.publicKeyFile" = signature.publicKeyFile;
  "release.source" =
    if cfg.release.source != null && lib.match "(file:)?/.*" cfg.release.source != null then
      lib.removePrefix "file:" cfg.release.source
    else
      null;
  "release.tarball" = cfg.release.tarball;
}
++ directories.refuseHidden (
  lib.mapAttrs' (name: lib.nameValuePair "ipxe.extraFiles.${builtins.toJSON name}") cfg.ipxe.extraFiles
)
++ directories.refuseShared "the service's" { inherit (cfg) stateDir; }
