# Options with one of everything that a list of options tells apart.
let
  lib = import <nixpkgs/lib>;
  inherit (lib) mkOption types;
  plain = {
    description = "d";
    type = types.str;
  };
  inner = types.submodule (
    { name, ... }:
    {
      options = {
        name = mkOption (plain // { default = name; });
        deep = mkOption (plain // { type = types.listOf (types.submodule { options.last = mkOption plain; }); });
      };
    }
  );
  other = types.submodule { options.another = mkOption plain; };
  withType = type: mkOption (plain // { inherit type; });
  withDefault = default: mkOption (plain // { inherit default; });
  withText = defaultText: mkOption (plain // { inherit defaultText; });
in
lib.evalModules {
  modules = [
    {
      _file = "inline.nix";
      options.from.inline = mkOption plain;
    }
    {
      options.odd = {
        bare = mkOption plain;
        readOnly = mkOption (plain // { readOnly = true; });
        hidden = mkOption (plain // { visible = false; });
        internal = mkOption (
          plain
          // {
            internal = true;
            type = inner;
          }
        );
        shallow = mkOption (
          plain
          // {
            visible = "shallow";
            type = inner;
          }
        );
        transparent = mkOption (
          plain
          // {
            visible = "transparent";
            type = inner;
          }
        );
        words = mkOption (
          plain
          // {
            description = ''
              Several lines, with *markup*,

              and a newline at the end.
            '';
          }
        );
        packages = mkOption (
          plain
          // {
            relatedPackages = [
              "hello"
              [
                "python3Packages"
                "click"
              ]
              {
                name = "tmux";
                title = "A title";
                comment = "A comment";
              }
            ];
          }
        );
        "with.dot" = mkOption plain;
        "\${x}" = mkOption plain;
        "or" = mkOption plain;
        "ä" = mkOption plain;

        types = {
          attrs = withType (types.attrsOf inner);
          coerced = withType (types.coercedTo types.str (name: { inherit name; }) inner);
          either = withType (types.either types.str inner);
          eitherOther = withType (types.either inner other);
          own = withType (
            lib.mkOptionType {
              name = "own";
              description = "own";
              getSubOptions = prefix: inner.getSubOptions (prefix ++ [ "<thing>" ]);
            }
          );
          freeform = withType (
            types.submodule {
              freeformType = types.attrsOf inner;
              options.known = mkOption plain;
            }
          );
          list = withType (types.listOf inner);
          nested = withType (types.nullOr (types.attrsOf (types.listOf inner)));
          nullOr = withType (types.nullOr inner);
          nullOrEither = withType (types.nullOr (types.either types.int inner));
          package = withType types.package;
          placed = withType (types.attrsWith or (all: types.attrsOf all.elemType) {
            elemType = inner;
            placeholder = "host";
          });
          tag = withType (types.attrTag or types.submodule { options = mkOption plain; });
          unique = withType (types.uniq inner);
        };

        defaults = {
          empty = withDefault { };
          emptyList = withDefault [ ];
          float = withDefault 0.5;
          function = withDefault (a: a);
          lines = withDefault "one\ntwo \${x} ''quoted''\n";
          path = withDefault /nowhere/at/all;
          quoted = withDefault "a \"b\" \\ \${c} $d";
          derivations = withDefault [
            {
              type = "derivation";
              name = "hello";
              outPath = "/nix/store/x";
            }
          ];
          set = withDefault {
            "a.b" = [
              1
              null
              true
              { c = "d"; }
            ];
            "if" = "x\ny";
            b = -5;
          };
          expression = withText (lib.literalExpression ''
            config.a
              + config.b
          '');
          markdown = withText (lib.literalMD "in *words*\n");
          string = withText "pkgs.hello";
          strings = withText [ "a" ];
        };
        example = mkOption (plain // { example = lib.literalExpression "pkgs.hello"; });
        exampleData = mkOption (plain // { example.a.b = [ "c" ]; });
        exampleMarkdown = mkOption (plain // { example = lib.literalMD "see *there*"; });
      };
    }
  ];
}
