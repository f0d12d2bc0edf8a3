# What ectools/service/NAME.toml says of a service's units, with its facts, as NixOS takes it. `ectools service` makes the
# units of other systems from the same file (ectools/service/sections.py says what may stand in it).
{ lib }:
let
  read = name: builtins.fromTOML (builtins.readFile (../../ectools/service + "/${name}.toml"));
  common = read "common";

  # name of the file → fact → value: unit → section → setting
  sectionsOf =
    name: facts:
    let
      service = read name;
      fragments = common.fragments // service.fragments;

      # "${fact}" alone stands for the fact itself; inside other text, for its text.
      texts = lib.filterAttrs (_: fact: lib.isString fact || lib.isInt fact) facts;
      inText = lib.replaceStrings (map (fact: "\${${fact}}") (lib.attrNames texts)) (
        map toString (lib.attrValues texts)
      );
      evaluate =
        value:
        let
          alone = builtins.match "[$][{]([A-Za-z]+)}" value;
        in
        if lib.isList value then
          lib.concatMap (each: lib.toList (evaluate each)) value
        else if !lib.isString value then
          value
        else if alone != null then
          facts.${lib.head alone}
        else
          inText value;

      expand =
        item:
        if item ? when && !facts.${item.when} || item ? unless && facts.${item.unless} then
          [ ]
        else
          map (used: fragments.${used}) (item.use or [ ])
          ++ [
            (removeAttrs item [
              "unless"
              "use"
              "when"
            ])
          ];
      add =
        sections: added:
        lib.recursiveUpdate sections (
          lib.mapAttrs (
            section: lib.mapAttrs (setting: value: sections.${section}.${setting} or [ ] ++ evaluate value)
          ) added
        );
      apply =
        sections: fragment:
        add (lib.recursiveUpdate sections (
          lib.mapAttrs (_: lib.mapAttrs (_: evaluate)) (removeAttrs fragment [ "add" ])
        )) (fragment.add or { });
    in
    lib.filterAttrs (_: sections: sections != { }) (
      lib.mapAttrs (_: items: lib.foldl' apply { } (lib.concatMap expand items)) service.units
    );

  # The settings that have options of their own, so that other modules' definitions come beside them.
  named = {
    After = "after";
    Before = "before";
    Conflicts = "conflicts";
    Documentation = "documentation";
    PartOf = "partOf";
    Requires = "requires";
    Wants = "wants";
  };
  unitOf =
    sections:
    {
      description = sections.Unit.Description;
      wantedBy = sections.Install.WantedBy or [ ];
      unitConfig = removeAttrs sections.Unit ([ "Description" ] ++ lib.attrNames named);
    }
    // lib.mapAttrs' (setting: option: lib.nameValuePair option sections.Unit.${setting}) (
      lib.filterAttrs (setting: _: sections.Unit ? ${setting}) named
    );

  # The units of one kind (".service"): name → what `make` makes of its sections.
  ofKind =
    suffix: make: units:
    lib.mapAttrs' (name: sections: lib.nameValuePair (lib.removeSuffix suffix name) (make sections)) (
      lib.filterAttrs (name: _: lib.hasSuffix suffix name) units
    );
in
{
  inherit (common)
    directoryMode
    hiddenDirectories
    sharedDirectories
    systemDirectories
    ;
  sandbox = common.fragments.sandbox.Service;

  users =
    name:
    let
      service = read name;
    in
    {
      groups.${service.group} = { };
      users = lib.mapAttrs (_: description: {
        isSystemUser = true;
        inherit (service) group;
        inherit description;
      }) service.users;
    };

  services =
    name: facts:
    ofKind ".service" (sections: unitOf sections // { serviceConfig = sections.Service; }) (
      sectionsOf name facts
    );
  timers =
    name: facts:
    ofKind ".timer" (sections: unitOf sections // { timerConfig = sections.Timer; }) (
      sectionsOf name facts
    );
}
