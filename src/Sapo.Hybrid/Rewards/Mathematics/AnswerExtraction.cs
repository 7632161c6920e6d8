// Finds the final answer in a completion. Every form takes time linear in the text, whatever the text.
using System.Text.RegularExpressions;

namespace Sapo.Hybrid.Rewards.Mathematics;

/// <summary>Takes the final answer out of a completion.</summary>
public static partial class AnswerExtraction
{
    private const string ThoughtBegin = "<think>", ThoughtEnd = "</think>", HashMark = "####", Anchor = "answer";

    /// <summary>How far behind the word "answer" its "is" or ":" is looked for.</summary>
    private const int AnchorReach = 80;

    /// <summary>Nobody's answer in a sentence is longer.</summary>
    private const int LongestSentenceAnswer = 2000;

    /// <summary>The answer, or null when the completion gives none in this form.</summary>
    /// <param name="completion">The completion's text.</param>
    /// <param name="form">Where to look.</param>
    public static string? Extract(string completion, AnswerForm form)
    {
        var answer = form switch
        {
            AnswerForm.Boxed => Box(completion),
            AnswerForm.HashMarks => AfterHashMarks(completion),
            AnswerForm.Sentence => InSentence(completion),
            AnswerForm.BoxedAfterThought => AfterThought(completion) is { } conclusion ? Box(conclusion) : null,
            _ => Anywhere(completion),
        };
        return string.IsNullOrWhiteSpace(answer) ? null : answer;
    }

    private static string? Anywhere(string completion)
    {
        var conclusion = AfterThought(completion) ?? (completion.Contains(ThoughtBegin, StringComparison.Ordinal) ? "" : completion);
        return Box(conclusion) ?? AfterHashMarks(conclusion) ?? InSentence(conclusion);
    }

    private static string? AfterThought(string completion)
    {
        var end = completion.LastIndexOf(ThoughtEnd, StringComparison.Ordinal);
        return end < 0 ? null : completion[(end + ThoughtEnd.Length)..];
    }

    /// <summary>One pass with a stack of open braces; of the boxes that close, the one that begins last wins.</summary>
    private static string? Box(string text)
    {
        var open = new Stack<(int ContentStart, bool IsBox)>();
        (int Start, int End) last = (-1, -1);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\')
            {
                var content = BoxContentStart(text, i);
                if (content < 0)
                {
                    // A backslash takes the next character with it: \{ and \} are no braces, \\ is no command.
                    i++;
                    continue;
                }
                open.Push((content, IsBox: true));
                i = content - 1;
            }
            else if (text[i] == '{')
            {
                open.Push((i + 1, IsBox: false));
            }
            else if (text[i] == '}' && open.TryPop(out var brace) && brace.IsBox && brace.ContentStart > last.Start)
            {
                last = (brace.ContentStart, i);
            }
        }
        return last.Start < 0 ? null : text[last.Start..last.End];
    }

    private static int BoxContentStart(string text, int backslash)
    {
        foreach (var command in (ReadOnlySpan<string>)["\\boxed", "\\fbox"])
        {
            if (!text.AsSpan(backslash).StartsWith(command)) continue;
            var at = backslash + command.Length;
            while (at < text.Length && text[at] == ' ') at++;
            return at < text.Length && text[at] == '{' ? at + 1 : -1;
        }
        return -1;
    }

    private static string? AfterHashMarks(string text)
    {
        var mark = text.LastIndexOf(HashMark, StringComparison.Ordinal);
        if (mark < 0) return null;
        var line = text.AsSpan(mark + HashMark.Length);
        var end = line.IndexOf('\n');
        var answer = (end < 0 ? line : line[..end]).ToString().Replace("**", "", StringComparison.Ordinal);
        return Box(answer) ?? answer;
    }

    private static string? InSentence(string text)
    {
        for (var anchor = text.LastIndexOf(Anchor, StringComparison.OrdinalIgnoreCase); anchor >= 0; anchor = anchor == 0 ? -1 : text.LastIndexOf(Anchor, anchor - 1, StringComparison.OrdinalIgnoreCase))
        {
            var start = anchor + Anchor.Length;
            var reach = text.AsSpan(start, Math.Min(AnchorReach, text.Length - start));
            var sentenceEnd = reach.IndexOfAny('.', '\n');
            if (sentenceEnd >= 0) reach = reach[..sentenceEnd];
            // Spares the pattern where it cannot match: a long text may repeat the word very often.
            if (!reach.Contains(':') && !reach.Contains("is", StringComparison.OrdinalIgnoreCase)) continue;
            var link = Link().Match(reach.ToString());
            if (!link.Success) continue;
            var from = start + link.Index + link.Length;
            return SentenceAnswer(text.AsSpan(from, Math.Min(LongestSentenceAnswer, text.Length - from)).TrimStart().ToString());
        }
        return null;
    }

    /// <summary>The answer at the beginning of the rest of a sentence.</summary>
    private static string? SentenceAnswer(string rest)
    {
        var lineEnd = rest.IndexOf('\n', StringComparison.Ordinal);
        if (lineEnd >= 0) rest = rest[..lineEnd];
        if (Box(rest) is { } box) return box;
        if (Formula().Match(rest) is { Success: true } formula) return formula.Groups["body"].Value;
        rest = rest.Replace("**", "", StringComparison.Ordinal);
        rest = rest[Filler().Match(rest).Length..];
        if (LeadingNumber().Match(rest) is { Success: true } number && !GoesOn().IsMatch(rest[number.Length..]))
            return Alternative().IsMatch(rest[number.Length..]) ? rest : number.Value;
        return rest[..Clause().Match(rest).Length];
    }

    // The word or sign that ties the answer to its anchor: "answer is", "answer:", "answer to the question is:".
    [GeneratedRegex(@"^(\*|\s)*:(\*|\s)*|\bis\b\s*:?(\*|\s)*", RegexOptions.ExplicitCapture | RegexOptions.IgnoreCase, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Link();

    [GeneratedRegex(@"^\$(?<body>[^$]+)\$|^\\\((?<body>.+?)\\\)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Formula();

    // A number with what belongs to it, up to the end of its unit: -$1,234.50, 3/4, 75%.
    [GeneratedRegex(@"^[-+\u2212]?\s?[$\u20AC\u00A3]?(\d+(,\d{3})*(\.\d+)?|\.\d+)([eE][-+]?\d+)?(\s?/\s?\d+)?\s?%?(?![\d^!])", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex LeadingNumber();

    // The number is only the beginning of an expression: 2x + 1, 3\sqrt{2}, 5 = x.
    [GeneratedRegex(@"^(\s*[+*/^=\\]|[A-Za-z(])", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex GoesOn();

    [GeneratedRegex(@"^((therefore|thus|hence|simply|just|exactly|equal\s+to|then|indeed)\b[\s,:]*)*", RegexOptions.ExplicitCapture | RegexOptions.IgnoreCase, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Filler();

    // "42 or 43", "42, 43", "40-44": more than one answer is none.
    [GeneratedRegex(@"^\s*(or|and|to|through|,|-|\u2013|/)\s*[-+$]?\d", RegexOptions.ExplicitCapture | RegexOptions.IgnoreCase, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Alternative();

    // Words up to the end of the clause.
    [GeneratedRegex(@"^.*?(?=\.\s|\.$|,\s|;|\s\(|\s(because|since|as|so)\s|$)", RegexOptions.ExplicitCapture | RegexOptions.IgnoreCase, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Clause();
}
