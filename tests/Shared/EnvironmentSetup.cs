using System.Runtime.CompilerServices;
using Sapo.Core.Machine;

namespace Sapo.Testing;

/// <summary>Prepares the environment of the native engines before any test of the assembly can load one.</summary>
internal static class EnvironmentSetup
{
    [ModuleInitializer]
    internal static void Prepare() => NativeEnvironment.Prepare();
}
