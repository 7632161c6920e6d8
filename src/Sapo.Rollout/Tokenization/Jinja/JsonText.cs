using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Sapo.Rollout.Tokenization.Jinja;

/// <summary>Python's <c>json.dumps(value, ensure_ascii=False)</c>, and JSON as template values.</summary>
internal static class JsonText
{
    private const int DeepestNesting = 64;

    /// <summary>A JSON value as a template value; members keep their order.</summary>
    public static object? ToValue(JsonElement json) => json.ValueKind switch
    {
        JsonValueKind.Object => Mapping(json),
        JsonValueKind.Array => new TemplateList([.. json.EnumerateArray().Select(ToValue)]),
        JsonValueKind.String => json.GetString(),
        JsonValueKind.Number => Number(json),
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => null,
    };

    /// <summary>The text of a value.</summary>
    /// <param name="value">The value.</param>
    /// <param name="indent">Blanks per level, or null for one line.</param>
    /// <param name="itemSeparator">Between items; a line break follows it when indented.</param>
    /// <param name="keySeparator">Between key and value.</param>
    /// <param name="sortKeys">Whether keys are sorted by code point.</param>
    public static string Write(object? value, string? indent, string itemSeparator, string keySeparator, bool sortKeys)
    {
        var writer = new Writer(indent, itemSeparator, keySeparator, sortKeys);
        writer.Write(value, 0);
        return writer.Text.ToString();
    }

    private static TemplateMapping Mapping(JsonElement json)
    {
        var entries = new OrderedDictionary<string, object?>(StringComparer.Ordinal);
        foreach (var member in json.EnumerateObject()) entries[member.Name] = ToValue(member.Value);
        return new TemplateMapping(entries);
    }

    private static object Number(JsonElement json)
    {
        var isWhole = !json.GetRawText().AsSpan().ContainsAny('.', 'e', 'E');
        if (!isWhole) return json.GetDouble();
        return json.TryGetInt64(out var whole) ? whole : throw new TemplateException($"the number {json.GetRawText()} is too large");
    }

    private sealed class Writer(string? indent, string itemSeparator, string keySeparator, bool sortKeys)
    {
        public StringBuilder Text { get; } = new();

        public void Write(object? value, int depth)
        {
            if (depth > DeepestNesting) throw new TemplateException($"tojson of more than {DeepestNesting} levels");
            switch (value)
            {
                case null: Text.Append("null"); break;
                case bool truth: Text.Append(truth ? "true" : "false"); break;
                case long whole: Text.Append(whole.ToString(CultureInfo.InvariantCulture)); break;
                case double number: Text.Append(double.IsNaN(number) ? "NaN" : double.IsInfinity(number) ? number > 0 ? "Infinity" : "-Infinity" : PythonText.Float(number)); break;
                case string text: Quote(text); break;
                case MarkedText marked: Quote(marked.Text); break;
                case TemplateList list: Items('[', ']', list.Items, item => Write(item, depth + 1), depth); break;
                case TemplateMapping mapping:
                    var entries = sortKeys ? mapping.Entries.OrderBy(entry => entry.Key, Comparer<string>.Create(PythonText.Compare)).ToList() : mapping.Entries.ToList();
                    Items('{', '}', entries, entry => Entry(entry, depth), depth);
                    break;
                default: throw new TemplateException($"tojson of a {PythonText.Kind(value)}");
            }
        }

        private void Entry(KeyValuePair<string, object?> entry, int depth)
        {
            Quote(entry.Key);
            Text.Append(keySeparator);
            Write(entry.Value, depth + 1);
        }

        private void Items<T>(char open, char close, IReadOnlyList<T> items, Action<T> write, int depth)
        {
            Text.Append(open);
            for (var i = 0; i < items.Count; i++)
            {
                if (i > 0) Text.Append(itemSeparator);
                NewLine(depth + 1);
                write(items[i]);
            }
            if (items.Count > 0) NewLine(depth);
            Text.Append(close);
        }

        private void NewLine(int depth)
        {
            if (indent is null) return;
            Text.Append('\n');
            for (var i = 0; i < depth; i++) Text.Append(indent);
        }

        private void Quote(string text)
        {
            Text.Append('"');
            foreach (var character in text)
            {
                _ = character switch
                {
                    '"' => Text.Append("\\\""),
                    '\\' => Text.Append("\\\\"),
                    '\n' => Text.Append("\\n"),
                    '\r' => Text.Append("\\r"),
                    '\t' => Text.Append("\\t"),
                    '\b' => Text.Append("\\b"),
                    '\f' => Text.Append("\\f"),
                    < ' ' => Text.Append(CultureInfo.InvariantCulture, $"\\u{(int)character:x4}"),
                    _ => Text.Append(character),
                };
            }
            Text.Append('"');
        }
    }
}
