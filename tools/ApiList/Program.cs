// Prints what an assembly offers to callers, sorted:
//   dotnet run --project tools/ApiList -- path/to/Assembly.dll [type or namespace ...]
using System.Reflection;
using Sapo.ApiList;

if (args.Length == 0)
{
    Console.Error.WriteLine("No assembly given; expected: ApiList <path/to/Assembly.dll> [type or namespace ...]");
    return 2;
}

foreach (string line in PublicSurface.Of(Assembly.LoadFrom(args[0]), args[1..])) Console.WriteLine(line);
return 0;
