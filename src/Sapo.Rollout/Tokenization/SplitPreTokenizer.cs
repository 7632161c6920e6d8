namespace Sapo.Rollout.Tokenization;

/// <summary>What becomes of the matches when a text is cut at a pattern.</summary>
internal enum SplitBehavior
{
    /// <summary>Each match is a piece of its own.</summary>
    Isolated,

    /// <summary>Matches are thrown away.</summary>
    Removed,

    /// <summary>Neighbouring matches make one piece.</summary>
    Contiguous,

    /// <summary>A match ends the piece before it.</summary>
    MergedWithPrevious,

    /// <summary>A match begins the piece after it.</summary>
    MergedWithNext,
}

/// <summary>Cuts a piece at the matches of a pattern.</summary>
/// <param name="pattern">Where to cut.</param>
/// <param name="behavior">What becomes of the matches.</param>
/// <param name="invert">Whether what lies between the matches is treated as matches, and the matches as what lies between.</param>
internal sealed class SplitPreTokenizer(TextPattern pattern, SplitBehavior behavior, bool invert) : PreTokenizer
{
    /// <summary>Reads a <c>behavior</c>.</summary>
    public static SplitBehavior ReadBehavior(JsonValue value)
    {
        var name = value.AsString();
        // Enum.TryParse would also take numbers and lists of names.
        return Enum.GetNames<SplitBehavior>().Contains(name, StringComparer.Ordinal) ? Enum.Parse<SplitBehavior>(name) : throw value.Unsupported($"the split behavior {name}", string.Join(", ", Enum.GetNames<SplitBehavior>()));
    }

    /// <inheritdoc/>
    public override void Split(TextPiece piece, List<TextPiece> pieces)
    {
        var start = 0;
        var previousWasMatch = false;
        var open = false;
        foreach (var (span, isMatch) in Stretches(piece.Text))
        {
            var joins = open && behavior switch
            {
                SplitBehavior.Contiguous => isMatch == previousWasMatch,
                SplitBehavior.MergedWithPrevious => isMatch && !previousWasMatch,
                SplitBehavior.MergedWithNext => !isMatch && previousWasMatch,
                _ => false,
            };
            if (open && !joins) Emit(piece, new TextSpan(start, span.Start), previousWasMatch, pieces);
            if (!joins) start = span.Start;
            previousWasMatch = isMatch;
            open = true;
        }
        if (open) Emit(piece, new TextSpan(start, piece.Text.Length), previousWasMatch, pieces);
    }

    private void Emit(TextPiece piece, TextSpan span, bool isMatch, List<TextPiece> pieces)
    {
        if (span.End == span.Start || (isMatch && behavior == SplitBehavior.Removed)) return;
        pieces.Add(span.End - span.Start == piece.Text.Length
            ? piece
            : new TextPiece(piece.Text[span.Start..span.End], piece.StartsInput && span.Start == 0));
    }

    /// <summary>The whole text as matches and what lies between them.</summary>
    private IEnumerable<(TextSpan Span, bool IsMatch)> Stretches(string text)
    {
        var at = 0;
        foreach (var match in pattern.Matches(text))
        {
            if (match.Start > at) yield return (new TextSpan(at, match.Start), invert);
            yield return (match, !invert);
            at = match.End;
        }
        if (at < text.Length) yield return (new TextSpan(at, text.Length), invert);
    }
}
