// The pre-tokenizer of tokenizer.json: a text without added tokens -> the words inside which merges may happen.
//   Split      cuts at a pattern              Digits     cuts at numeric characters
//   ByteLevel  spells UTF-8 bytes by 256 characters, cutting as GPT-2 does if use_regex
//   Metaspace  spells spaces as U+2581        Sequence   one after the other
namespace Sapo.Rollout.Tokenization;

/// <summary>A part of the text on its way to the model.</summary>
/// <param name="Text">The text as normalised and spelled so far.</param>
/// <param name="StartsInput">Whether it begins where the whole input begins.</param>
internal readonly record struct TextPiece(string Text, bool StartsInput);

/// <summary>Cuts pieces into smaller ones or respells them. Safe for use by many threads.</summary>
internal abstract class PreTokenizer
{
    private const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    /// <summary>Reads <c>pre_tokenizer</c>; none leaves the text in one piece.</summary>
    public static PreTokenizer Read(JsonValue? section)
    {
        if (section is not { } value) return new SequencePreTokenizer([]);
        var type = value.Member("type").AsString();
        switch (type)
        {
            case "Sequence":
                return new SequencePreTokenizer([.. value.Member("pretokenizers").Items().Select(item => Read(item))]);
            case "Split":
                return new SplitPreTokenizer(TextPattern.Read(value.Member("pattern")), SplitPreTokenizer.ReadBehavior(value.Member("behavior")), value.Bool("invert"));
            case "Digits":
                return new SplitPreTokenizer(new NumericPattern(), value.Bool("individual_digits") ? SplitBehavior.Isolated : SplitBehavior.Contiguous, invert: false);
            case "ByteLevel":
                var split = value.Bool("use_regex", absent: true) ? new SplitPreTokenizer(new RegexPattern(Gpt2Pattern, value.File), SplitBehavior.Isolated, invert: false) : null;
                return new ByteLevelPreTokenizer(value.Bool("add_prefix_space", absent: true), split);
            case "Metaspace":
                return MetaspacePreTokenizer.ReadMetaspace(value);
            default:
                throw value.Unsupported($"a pre-tokenizer of type {type}", "Split, Digits, ByteLevel, Metaspace or a Sequence of them");
        }
    }

    /// <summary>Appends what becomes of a piece, in order; empty pieces are left out.</summary>
    public abstract void Split(TextPiece piece, List<TextPiece> pieces);
}

/// <summary>Several pre-tokenizers, each applied to what the one before it left.</summary>
internal sealed class SequencePreTokenizer(PreTokenizer[] steps) : PreTokenizer
{
    /// <inheritdoc/>
    public override void Split(TextPiece piece, List<TextPiece> pieces)
    {
        List<TextPiece> current = [piece];
        foreach (var step in steps)
        {
            var next = new List<TextPiece>(current.Count);
            foreach (var part in current) step.Split(part, next);
            current = next;
        }
        pieces.AddRange(current);
    }
}

/// <summary>Spells the UTF-8 bytes of a piece with <see cref="ByteLevelAlphabet"/>, after cutting it.</summary>
internal sealed class ByteLevelPreTokenizer(bool addPrefixSpace, SplitPreTokenizer? split) : PreTokenizer
{
    /// <inheritdoc/>
    public override void Split(TextPiece piece, List<TextPiece> pieces)
    {
        if (addPrefixSpace && !piece.Text.StartsWith(' ')) piece = piece with { Text = " " + piece.Text };
        if (split is null)
        {
            if (piece.Text.Length > 0) pieces.Add(piece with { Text = ByteLevelAlphabet.Spell(piece.Text) });
            return;
        }
        var first = pieces.Count;
        split.Split(piece, pieces);
        for (var i = first; i < pieces.Count; i++) pieces[i] = pieces[i] with { Text = ByteLevelAlphabet.Spell(pieces[i].Text) };
    }
}

/// <summary>Spells spaces as U+2581 (or another character), with one in front as <c>prepend_scheme</c> says.</summary>
internal sealed class MetaspacePreTokenizer : PreTokenizer
{
    private readonly string _replacement;
    private readonly string _scheme;
    private readonly SplitPreTokenizer? _split;

    private MetaspacePreTokenizer(string replacement, string scheme, SplitPreTokenizer? split)
    {
        _replacement = replacement;
        _scheme = scheme;
        _split = split;
    }

    /// <summary>Reads a Metaspace section, in the newer form (prepend_scheme) or the older one (add_prefix_space).</summary>
    public static MetaspacePreTokenizer ReadMetaspace(JsonValue value)
    {
        var prepend = value.String("prepend_scheme") ?? (value.Bool("add_prefix_space", absent: true) ? "always" : "never");
        if (prepend is not ("always" or "first" or "never")) throw value.Unsupported($"prepend_scheme {prepend}", "always, first or never");
        var space = value.Member("replacement").AsString();
        if (space.Length != 1) throw value.Error($"replacement is \"{space}\"", "one character");
        var cut = value.Bool("split", absent: true) ? new SplitPreTokenizer(new LiteralPattern(space), SplitBehavior.MergedWithNext, invert: false) : null;
        return new MetaspacePreTokenizer(space, prepend, cut);
    }

    /// <inheritdoc/>
    public override void Split(TextPiece piece, List<TextPiece> pieces)
    {
        if (piece.Text.Length == 0) return;
        var text = piece.Text.Replace(" ", _replacement, StringComparison.Ordinal);
        var prepend = (_scheme == "always" || (_scheme == "first" && piece.StartsInput)) && !text.StartsWith(_replacement, StringComparison.Ordinal);
        piece = piece with { Text = prepend ? _replacement + text : text };
        if (_split is null) pieces.Add(piece);
        else _split.Split(piece, pieces);
    }
}
