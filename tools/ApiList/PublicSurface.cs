using System.Reflection;

namespace Sapo.ApiList;

/// <summary>
/// The public and protected members of an assembly as text, one line each: "Namespace.Type : signature". Two assemblies
/// that give the same line offer the same member to a caller's source code.
/// </summary>
public static class PublicSurface
{
    private const BindingFlags Declared =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    /// <summary>The sorted lines of an assembly.</summary>
    /// <param name="assembly">The assembly to list.</param>
    /// <param name="within">Full names of types or namespaces to keep to; none for everything.</param>
    public static IReadOnlyCollection<string> Of(Assembly assembly, params string[] within)
    {
        ArgumentNullException.ThrowIfNull(assembly);
        ArgumentNullException.ThrowIfNull(within);
        var lines = new SortedSet<string>(StringComparer.Ordinal);
        foreach (Type type in LoadableTypes(assembly).Where(type => type.IsVisible))
        {
            string owner = Signature.FullName(type);
            if (within.Length > 0 && !Array.Exists(within, name => owner == name || owner.StartsWith(name + ".",
                StringComparison.Ordinal))) continue;
            lines.UnionWith(MembersOf(type).Select(member => $"{owner} : {member}"));
        }
        return lines;
    }

    private static IEnumerable<string> MembersOf(Type type)
    {
        yield return Signature.OfType(type);
        foreach (ConstructorInfo constructor in type.GetConstructors(Declared).Where(IsOffered)) yield return Signature.OfConstructor(constructor);
        foreach (MethodInfo method in type.GetMethods(Declared).Where(IsOffered))
            if (!method.IsSpecialName || method.Name.StartsWith("op_", StringComparison.Ordinal)) yield return Signature.OfMethod(method);
        foreach (PropertyInfo property in type.GetProperties(Declared))
            if (IsOffered(property.GetMethod) || IsOffered(property.SetMethod))
                yield return Signature.OfProperty(property, IsOffered(property.GetMethod), IsOffered(property.SetMethod));
        foreach (FieldInfo field in type.GetFields(Declared))
            if ((field.IsPublic || field.IsFamily || field.IsFamilyOrAssembly) && !field.IsSpecialName) yield return Signature.OfField(field);
    }

    private static bool IsOffered(MethodBase? method) =>
        method is not null && (method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly);

    /// <summary>The types whose own references are at hand.</summary>
    private static IEnumerable<Type> LoadableTypes(Assembly assembly)
    {
        try
        {
            return assembly.GetTypes();
        }
        catch (ReflectionTypeLoadException partly)
        {
            return partly.Types.OfType<Type>();
        }
    }
}
