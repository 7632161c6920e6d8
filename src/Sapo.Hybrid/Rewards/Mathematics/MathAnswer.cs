// What an answer is: a value, words, or a structure of answers; and when two of them are the same.
namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>An answer, ready to be compared.</summary>
internal abstract record MathAnswer
{
    private const int MostItems = 1000;
    private const int DeepestNesting = 20;

    /// <summary>Whether two answers, as written, mean the same.</summary>
    public static bool AreEqual(string gold, string answer)
    {
        var (expected, found) = (AnswerText.Of(gold), AnswerText.Of(answer));
        if (expected.Text.Length == 0 || found.Text.Length == 0) return false;
        if (string.Equals(Compact(expected.Text), Compact(found.Text), StringComparison.Ordinal)) return true;
        var (goldAnswer, foundAnswer) = (Parse(expected.Text, 0), Parse(found.Text, 0));
        if (goldAnswer.Matches(foundAnswer)) return true;
        // 75% against 75 or 0.75, either way round.
        if (expected.IsPercent == found.IsPercent || goldAnswer is not ValueAnswer whole || foundAnswer is not ValueAnswer part) return false;
        var hundredth = AlgebraicValue.Of(new Rational(1, 100));
        return expected.IsPercent ? (whole.Value * hundredth).EqualTo(part.Value) : (part.Value * hundredth).EqualTo(whole.Value);
    }

    /// <summary>Whether an answer means the same as this one.</summary>
    protected abstract bool Matches(MathAnswer other);

    private static MathAnswer Parse(string text, int depth)
    {
        text = text.Trim();
        if (depth > DeepestNesting) return new WordsAnswer(text);
        if (List(text, depth) is { } list) return list;
        var parts = Pieces(text, "=", "\\approx", "\\in ");
        if (parts is [.., var last] && parts.Count > 1 && parts.TrueForAll(part => part.Trim().Length > 0)) return new EquationAnswer(parts, Parse(last, depth + 1));
        if (Pieces(text, "\\cup") is { Count: > 1 } sets) return new GroupAnswer('\\', [.. sets.Select(set => Parse(set, depth + 1))], '\\');
        if (text is "\\emptyset" or "\\varnothing" or "\\{\\}") return new GroupAnswer('{', [], '}');
        return Bracketed(text, depth) ?? ParseValue(text);
    }

    private static GroupAnswer? Bracketed(string text, int depth)
    {
        var isSet = text.StartsWith("\\{", StringComparison.Ordinal) && text.EndsWith("\\}", StringComparison.Ordinal);
        if (!isSet && !(text.Length > 2 && text[0] is '(' or '[' && text[^1] is ')' or ']')) return null;
        if (!ClosesAtEnd(text)) return null;
        var inside = isSet ? text[2..^2] : text[1..^1];
        var items = Pieces(inside, ",");
        if (!isSet && items.Count == 1) return null;
        return items.Count > MostItems ? null : new GroupAnswer(isSet ? '{' : text[0], [.. items.Select(item => Parse(item, depth + 1))], isSet ? '}' : text[^1]);
    }

    /// <summary>Answers with commas or "and" or "or" between, unless the commas only group digits or the words join words.</summary>
    private static GroupAnswer? List(string text, int depth)
    {
        var joined = Pieces(text, " and ", " or ");
        var items = joined.Count > 1 ? joined : Pieces(text, ",");
        if (items.Count is 1 or > MostItems || (joined.Count == 1 && IsGroupedNumber(items))) return null;
        MathAnswer[] answers = [.. items.Select(item => Parse(item, depth + 1))];
        return joined.Count > 1 && answers.Any(answer => answer is WordsAnswer) ? null : new GroupAnswer('{', answers, '}');
    }

    private static bool IsGroupedNumber(List<string> items)
    {
        for (var i = 1; i < items.Count; i++)
        {
            var before = items[i - 1].Length - items[i - 1].AsSpan().TrimEnd("0123456789").Length;
            var behind = items[i].AsSpan().IndexOfAnyExceptInRange('0', '9');
            if ((behind < 0 ? items[i].Length : behind) != 3 || before is < 1 or > 3) return false;
        }
        return true;
    }

    private static MathAnswer ParseValue(string text)
    {
        var sign = text is ['-' or '+', ..] ? text[0] : '+';
        if (text.TrimStart('-', '+').Trim() == "\\infty") return new InfinityAnswer(sign == '-');
        if (IsWords(text)) return new WordsAnswer(text);
        try
        {
            var (value, variables) = ExpressionReader.Evaluate(text);
            return new ValueAnswer(value, variables, text);
        }
        catch (NotEvaluatedException)
        {
            return new WordsAnswer(text);
        }
    }

    /// <summary>Letters in a word of three or more are language, not a product of variables.</summary>
    private static bool IsWords(string text)
    {
        var run = 0;
        foreach (var character in text)
        {
            if (char.IsLetter(character)) run++;
            else if (character is ' ' or '.' or '\'' or '-' or '(' or ')') run = 0;
            else return false;
            if (run >= 3 && !text.Contains("pi", StringComparison.Ordinal) && !text.Contains("sqrt", StringComparison.Ordinal)) return true;
        }
        return false;
    }

    private static bool ClosesAtEnd(string text)
    {
        var depth = 0;
        for (var i = 0; i < text.Length - 1; i++)
        {
            depth += Step(text, i);
            if (depth == 0 && i > 0) return i == text.Length - 2 && text[i] == '\\';
        }
        return true;
    }

    /// <summary>The text cut at separators that stand outside of brackets.</summary>
    private static List<string> Pieces(string text, params ReadOnlySpan<string> separators)
    {
        List<string> pieces = [];
        int depth = 0, start = 0;
        for (var i = 0; i < text.Length; i++)
        {
            depth += Step(text, i);
            if (depth > 0) continue;
            foreach (var separator in separators)
            {
                if (!text.AsSpan(i).StartsWith(separator)) continue;
                pieces.Add(text[start..i]);
                i += separator.Length - 1;
                start = i + 1;
                break;
            }
        }
        pieces.Add(text[start..]);
        return pieces;
    }

    private static int Step(string text, int index) => text[index] switch { '(' or '[' or '{' => 1, ')' or ']' or '}' => -1, _ => 0 };

    private static string Compact(string text) => text.Replace(" ", "", StringComparison.Ordinal);

    /// <summary>An exact value, possibly with variables.</summary>
    private sealed record ValueAnswer(AlgebraicValue Value, IReadOnlySet<string> Variables, string Text) : MathAnswer
    {
        protected override bool Matches(MathAnswer other) => other switch
        {
            // What has no variable in the gold has none in the answer either: x - x is not taken for 0.
            ValueAnswer value => (Variables.Count > 0 || value.Variables.Count == 0) && Evaluated(() => Value.EqualTo(value.Value)) || new WordsAnswer(Text).SameWords(value.Text),
            EquationAnswer equation => Matches(equation.Last),
            WordsAnswer words => Variables.Count > 0 && words.SameWords(Text),
            _ => false,
        };
    }

    /// <summary>Plus or minus infinity.</summary>
    private sealed record InfinityAnswer(bool IsNegative) : MathAnswer
    {
        protected override bool Matches(MathAnswer other) => other is InfinityAnswer infinity && infinity.IsNegative == IsNegative;
    }

    /// <summary>Words, choices, and whatever is no value.</summary>
    private sealed record WordsAnswer(string Text) : MathAnswer
    {
        public bool SameWords(string other) => string.Equals(Plain(Text), Plain(other), StringComparison.OrdinalIgnoreCase);

        protected override bool Matches(MathAnswer other) => other switch
        {
            WordsAnswer words => SameWords(words.Text),
            ValueAnswer value => value.Variables.Count > 0 && SameWords(value.Text),
            EquationAnswer equation => Matches(equation.Last),
            _ => false,
        };

        /// <summary>Without the brackets and dots of a choice: (A), A., A).</summary>
        private static string Plain(string text) => text.Trim().Trim('(', ')', '.', ' ');
    }

    /// <summary>An equation or a chain of them; its last side is the answer.</summary>
    private sealed record EquationAnswer(IReadOnlyList<string> Sides, MathAnswer Last) : MathAnswer
    {
        protected override bool Matches(MathAnswer other)
        {
            if (other is not EquationAnswer equation) return Last.Matches(other);
            // x = 5 is not y = 5; but 2x + y = 3 is y = 3 - 2x.
            var sameSubject = Sides.Count != 2 || equation.Sides.Count != 2 || string.Equals(Compact(Sides[0]), Compact(equation.Sides[0]), StringComparison.Ordinal);
            return (sameSubject && Last.Matches(equation.Last)) || SameRelation(equation);
        }

        private bool SameRelation(EquationAnswer other) => Sides.Count == 2 && other.Sides.Count == 2
            && Evaluated(() => Difference(Sides).IsMultipleOf(Difference(other.Sides)));

        private static AlgebraicValue Difference(IReadOnlyList<string> sides) => ExpressionReader.Evaluate(sides[0]).Value + -ExpressionReader.Evaluate(sides[1]).Value;
    }

    /// <summary>Several answers: a tuple or interval in order, a set or list without, a union of sets without.</summary>
    private sealed record GroupAnswer(char Open, IReadOnlyList<MathAnswer> Items, char Close) : MathAnswer
    {
        private bool IsOrdered => Open is '(' or '[';

        protected override bool Matches(MathAnswer other)
        {
            if (other is EquationAnswer equation) return Matches(equation.Last);
            if (other is not GroupAnswer group || group.Open != Open || group.Close != Close) return false;
            if (IsOrdered) return Items.Count == group.Items.Count && Items.Zip(group.Items).All(pair => pair.First.Matches(pair.Second));
            return Items.All(item => group.Items.Any(item.Matches)) && group.Items.All(found => Items.Any(item => item.Matches(found)));
        }
    }

    private static bool Evaluated(Func<bool> comparison)
    {
        try
        {
            return comparison();
        }
        catch (NotEvaluatedException)
        {
            return false;
        }
    }
}
