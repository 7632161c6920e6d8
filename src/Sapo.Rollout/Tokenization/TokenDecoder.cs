// The decoder of tokenizer.json: what each id contributes to the text.
//   ByteLevel                                          every token is bytes
//   [Replace...] [ByteFallback] [Fuse] [Strip]         a token is text, "<0x41>" is a byte, one leading space goes
using System.Globalization;
using System.Text;

namespace Sapo.Rollout.Tokenization;

/// <summary>What every id stands for, and how bytes become text. Safe for use by many threads.</summary>
internal sealed class TokenDecoder
{
    private readonly (string Found, string Content)[] _replacements;
    private readonly bool _hasByteFallback;
    private byte[] _bytes = [];
    private int[] _starts = [0];
    private bool[] _isRawByte = [];
    private bool[] _exists = [];

    private TokenDecoder(bool isByteLevel, IEnumerable<(string Found, string Content)> replacements, bool hasByteFallback, int leadingSpaces)
    {
        IsByteLevel = isByteLevel;
        _replacements = [.. replacements];
        _hasByteFallback = hasByteFallback;
        LeadingSpaces = leadingSpaces;
    }

    /// <summary>
    /// Whether tokens are bytes throughout. If so, each maximal malformed sequence becomes one U+FFFD. If not, bytes come
    /// in runs between texts, and a run that is not valid UTF-8 as a whole becomes one U+FFFD per byte.
    /// </summary>
    public bool IsByteLevel { get; }

    /// <summary>How many spaces are taken away at the beginning of the whole text, as far as there are any.</summary>
    public int LeadingSpaces { get; }

    /// <summary>Largest id + 1.</summary>
    public int Size => _exists.Length;

    /// <summary>Reads <c>decoder</c>.</summary>
    /// <param name="file">The root of tokenizer.json.</param>
    /// <param name="tokens">Every token's text by id.</param>
    public static TokenDecoder Read(JsonValue file, IReadOnlyDictionary<int, string> tokens)
    {
        if (file.Find("decoder") is not { } value) throw file.Unsupported("a tokenizer without a decoder", "ByteLevel, or a Sequence of Replace, ByteFallback, Fuse and Strip");
        var decoder = value.Member("type").AsString() == "ByteLevel" ? new TokenDecoder(isByteLevel: true, [], hasByteFallback: false, leadingSpaces: 0) : ReadSequence(value);
        decoder.Spell(tokens);
        return decoder;
    }

    /// <summary>Whether the vocabulary has this id.</summary>
    public bool Knows(int id) => (uint)id < (uint)_exists.Length && _exists[id];

    /// <summary>The bytes that an id stands for: UTF-8 text, or any bytes where <see cref="IsRaw"/>.</summary>
    public ReadOnlySpan<byte> Bytes(int id) => _bytes.AsSpan(_starts[id], _starts[id + 1] - _starts[id]);

    /// <summary>Whether an id's bytes may be a part of a character.</summary>
    public bool IsRaw(int id) => IsByteLevel || _isRawByte[id];

    private static TokenDecoder ReadSequence(JsonValue value)
    {
        if (value.Member("type").AsString() != "Sequence") throw Unsupported(value);
        List<(string, string)> replaced = [];
        var fallback = false;
        var spaces = 0;
        var order = 0;
        foreach (var step in value.Member("decoders").Items())
        {
            var type = step.Member("type").AsString();
            var place = Array.IndexOf(["Replace", "ByteFallback", "Fuse", "Strip"], type);
            if (place < order || (place == 3 && order != 2)) throw Unsupported(step);
            order = place;
            if (type == "Replace")
                replaced.Add((step.Member("pattern").String("String") ?? throw step.Unsupported("a Replace decoder with a regular expression", "one with a fixed string"), step.Member("content").AsString()));
            fallback |= type == "ByteFallback";
            if (type != "Strip") continue;
            if (step.Member("content").AsString() != " " || step.Member("stop").AsCount() != 0) throw step.Unsupported("Strip of anything but leading spaces", "content \" \" and stop 0");
            spaces += step.Member("start").AsCount();
        }
        if (order < 2) throw Unsupported(value);
        return new TokenDecoder(isByteLevel: false, replaced, fallback, spaces);
    }

    private static Sapo.Core.UserErrorException Unsupported(JsonValue value) =>
        value.Unsupported($"a decoder of type {value.Member("type").AsString()} at this place", "ByteLevel, or the Sequence Replace, ByteFallback, Fuse, Strip in this order");

    private void Spell(IReadOnlyDictionary<int, string> tokens)
    {
        var size = tokens.Count == 0 ? 0 : tokens.Keys.Max() + 1;
        _starts = new int[size + 1];
        _exists = new bool[size];
        _isRawByte = new bool[size];
        using var all = new MemoryStream();
        for (var id = 0; id < size; id++)
        {
            if (tokens.TryGetValue(id, out var token))
            {
                _exists[id] = true;
                all.Write(BytesOf(token, out _isRawByte[id]));
            }
            _starts[id + 1] = (int)all.Length;
        }
        _bytes = all.ToArray();
    }

    private byte[] BytesOf(string token, out bool raw)
    {
        raw = false;
        if (IsByteLevel) return ByteLevelAlphabet.Bytes(token);
        foreach (var (found, content) in _replacements) token = token.Replace(found, content, StringComparison.Ordinal);
        if (_hasByteFallback && token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>'
            && byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
        {
            raw = true;
            return [value];
        }
        return Encoding.UTF8.GetBytes(token);
    }
}
