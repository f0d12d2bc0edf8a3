{ name }:
{
  greeting = throw "no greeting for ${name}";
}
