# What one set of options has beyond another: options that only it declares, and those that it declares more of, with
# what is new inside them.
{ lib }:
let
  isOption = set: set._type or null == "option";

  # The same option, as far as the number of places tells that declare it. A declaration is only ever added.
  isSame =
    new: old:
    isOption old
    && builtins.length (new.declarations or [ ]) == builtins.length (old.declarations or [ ]);

  # Whether a value can be looked at, as far as tryEval tells.
  isWhole = value: (builtins.tryEval (builtins.isAttrs value)).success;

  # A set of options without those that `old` has too.
  without =
    new: old:
    builtins.listToAttrs (
      builtins.concatMap (
        name:
        if old ? ${name} then
          map (value: { inherit name value; }) (beyond new.${name} old.${name})
        else
          [
            {
              inherit name;
              value = new.${name};
            }
          ]
      ) (builtins.attrNames new)
    );

  # What is left of an attribute that both have: one value, or none. What fails in both was broken before.
  beyond =
    new: old:
    if !isWhole new then
      if isWhole old then [ new ] else [ ]
    else if !isWhole old then
      [ new ]
    else if isOption new then
      if isSame new old then [ ] else [ (extended new old) ]
    else if builtins.isAttrs new then
      let
        inner = without new (if builtins.isAttrs old && !isOption old then old else { });
      in
      if inner == { } then [ ] else [ inner ]
    else
      [ ];

  extended =
    new: old: new // (if new ? type && old ? type then { type = inside new.type old.type; } else { });

  # A type without the options that `old` has too. It lets these through, as names that nobody declares.
  inside =
    new: old:
    new
    // (
      if new ? nestedTypes && old ? nestedTypes then
        {
          nestedTypes = builtins.mapAttrs (
            name: type: if old.nestedTypes ? ${name} then inside type old.nestedTypes.${name} else type
          ) new.nestedTypes;
        }
      else
        { }
    )
    // (
      if new ? getSubOptions && old ? getSubOptions then
        {
          getSubOptions =
            loc:
            let
              before = old.getSubOptions loc;
            in
            if before == { } then
              new.getSubOptions loc
            else
              without (new.getSubOptions loc) before // { _module.freeformType.value = lib.types.raw; };
        }
      else
        { }
    );

  isGroup =
    set: path:
    if path == [ ] then
      builtins.isAttrs set && !isOption set
    else
      builtins.isAttrs set
      && !isOption set
      && set ? ${builtins.head path}
      && isWhole set.${builtins.head path}
      && isGroup set.${builtins.head path} (builtins.tail path);

  # The groups that lead to options, given by the paths of these.
  groupsOf =
    paths:
    builtins.attrValues (
      builtins.listToAttrs (
        builtins.concatMap (
          path:
          builtins.genList (
            count:
            let
              group = lib.take count path;
            in
            {
              name = builtins.toJSON group;
              value = group;
            }
          ) (builtins.length path)
        ) paths
      )
    );

  # The groups that further modules may declare options in: those of the base, and those that hold nothing but groups and
  # hidden options, down from the root (`services`, `services.every-channel`).
  openGroups =
    { base, options }:
    let
      groups = groupsOf (map (option: option.path) options);
      own = builtins.listToAttrs (
        map (option: {
          name = builtins.toJSON (lib.init option.path);
          value = null;
        }) (builtins.filter (option: !(option.internal or false) && option.visible or true == true) options)
      );
      holdsGroupsOnly =
        group:
        builtins.all (count: !own ? ${builtins.toJSON (lib.take count group)}) (
          builtins.genList (count: count) (builtins.length group + 1)
        );
    in
    builtins.filter (group: holdsGroupsOnly group || isGroup base group) groups;
in
{
  inherit openGroups without;
}
