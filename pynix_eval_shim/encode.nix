# Makes a value ready for nix's JSON writer, of any version: paths become strings instead of being copied to the
# store, and a float that the writer would round (before 2.12 it prints six digits), or print as null, becomes
# { ${tag} = [ mantissa exponent ]; } or { ${tag} = "inf"; }. The tag is random, so no value can look like one.
tag:
let
  inherit (builtins)
    floor
    foldl'
    genList
    map
    mapAttrs
    toJSON
    typeOf
    ;

  exact = toJSON 0.1234567890123 == "0.1234567890123";

  steps =
    map
      (bits: {
        inherit bits;
        factor = foldl' (power: _: power * 2.0) 1.0 (genList (step: step) bits);
      })
      [
        512
        512
        256
        128
        64
        32
        16
        8
        4
        2
        1
      ];

  # Scaling by powers of two loses nothing; between 2^52 and 2^53 every float is an integer.
  grow =
    state: step:
    if state.float < 9007199254740992.0 / step.factor then
      {
        float = state.float * step.factor;
        exponent = state.exponent - step.bits;
      }
    else
      state;
  shrink =
    state: step:
    if state.float >= 4503599627370496.0 * step.factor then
      {
        float = state.float / step.factor;
        exponent = state.exponent + step.bits;
      }
    else
      state;
  split =
    float:
    foldl' shrink (foldl' grow {
      inherit float;
      exponent = 0;
    } steps) steps;

  encodeFloat =
    float:
    if !(float - float == 0.0) then
      { ${tag} = toString float; }
    else if exact then
      float
    else if float == 0.0 then
      { ${tag} = toJSON float; }
    else
      let
        parts = split (if float < 0.0 then 0.0 - float else float);
        mantissa = floor parts.float;
      in
      {
        ${tag} = [
          (if float < 0.0 then 0 - mantissa else mantissa)
          parts.exponent
        ];
      };

  encode =
    value:
    let
      type = typeOf value;
    in
    if type == "set" then
      if value ? __toString then
        encode (value.__toString value)
      else if value ? outPath then
        encode value.outPath
      else
        mapAttrs (_: encode) value
    else if type == "list" then
      map encode value
    else if type == "float" then
      encodeFloat value
    else if type == "path" then
      toString value
    else
      value;
in
encode
