using System.Globalization;
using System.Reflection;

namespace Sapo.ApiList;

/// <summary>Types and members as they are written in C#, without namespaces.</summary>
internal static class Signature
{
    private static readonly Dictionary<string, string> Keywords = new(StringComparer.Ordinal)
    {
        ["Boolean"] = "bool", ["Byte"] = "byte", ["Int32"] = "int", ["Int64"] = "long", ["Single"] = "float",
        ["Double"] = "double", ["String"] = "string", ["Object"] = "object", ["Void"] = "void",
    };

    internal static string OfType(Type type)
    {
        string kind = type switch
        {
            { IsEnum: true } => "enum",
            { IsInterface: true } => "interface",
            { IsValueType: true } => "struct",
            { IsAbstract: true, IsSealed: true } => "static class",
            { IsAbstract: true } => "abstract class",
            _ => "class",
        };
        Type? parent = type.BaseType;
        bool isPlain = parent is null || parent == typeof(object) || parent == typeof(ValueType) || parent == typeof(Enum);
        return isPlain ? $"type {kind}" : $"type {kind} < {NameOf(parent!)}";
    }

    internal static string OfConstructor(ConstructorInfo constructor) => $"new({ListOf(constructor.GetParameters())})";

    internal static string OfMethod(MethodInfo method)
    {
        string generics = method.IsGenericMethod ? $"<{string.Join(',', method.GetGenericArguments().Select(NameOf))}>" : string.Empty;
        return $"{StaticOf(method)}{(method.IsAbstract ? "abstract " : string.Empty)}{NameOf(method.ReturnType)} {method.Name}{generics}({ListOf(method.GetParameters())})";
    }

    internal static string OfProperty(PropertyInfo property, bool canGet, bool canSet)
    {
        ParameterInfo[] indices = property.GetIndexParameters();
        string indexer = indices.Length > 0 ? $"[{ListOf(indices)}]" : string.Empty;
        string accessors = (canGet ? "get;" : string.Empty) + (canSet ? "set;" : string.Empty);
        return $"{StaticOf((property.GetMethod ?? property.SetMethod)!)}{NameOf(property.PropertyType)} {property.Name}{indexer} {{{accessors}}}";
    }

    internal static string OfField(FieldInfo field) =>
        $"{(field.IsStatic ? "static " : string.Empty)}field {NameOf(field.FieldType)} {field.Name}";

    internal static string FullName(Type type)
    {
        if (type.IsNested) return $"{FullName(type.DeclaringType!)}.{NameOf(type)}";
        return type.Namespace is null ? NameOf(type) : $"{type.Namespace}.{NameOf(type)}";
    }

    private static string NameOf(Type type)
    {
        if (type.IsByRef) return $"ref {NameOf(type.GetElementType()!)}";
        if (type.IsPointer) return $"{NameOf(type.GetElementType()!)}*";
        if (type.IsArray) return $"{NameOf(type.GetElementType()!)}[]";
        if (Nullable.GetUnderlyingType(type) is { } value) return $"{NameOf(value)}?";
        if (type.IsGenericType) return $"{type.Name.Split('`')[0]}<{string.Join(',', type.GetGenericArguments().Select(NameOf))}>";
        return Keywords.GetValueOrDefault(type.Name, type.Name);
    }

    private static string ListOf(IEnumerable<ParameterInfo> parameters) => string.Join(", ", parameters.Select(OfParameter));

    private static string OfParameter(ParameterInfo parameter)
    {
        string modifier = parameter.IsDefined(typeof(ParamArrayAttribute)) ? "params " : parameter.IsOut ? "out " : string.Empty;
        string fallback = parameter.HasDefaultValue ? $"={DefaultOf(parameter.RawDefaultValue)}" : string.Empty;
        return $"{modifier}{NameOf(parameter.ParameterType)} {parameter.Name}{fallback}";
    }

    private static string DefaultOf(object? value) => value switch
    {
        null => "null",
        bool truth => truth ? "true" : "false",
        string text => $"\"{text}\"",
        IFormattable number => number.ToString(format: null, CultureInfo.InvariantCulture),
        _ => value.ToString() ?? string.Empty,
    };

    private static string StaticOf(MethodBase method) => method.IsStatic ? "static " : string.Empty;
}
