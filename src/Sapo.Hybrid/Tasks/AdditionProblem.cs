namespace Sapo.Hybrid.Tasks;

/// <summary>One addition of two-digit numbers and the three ways of writing its answer.</summary>
/// <param name="A">10 to 99.</param>
/// <param name="B">10 to 99.</param>
internal readonly record struct AdditionProblem(int A, int B)
{
    /// <summary>Never trained on.</summary>
    public bool IsHeldOut => (A + 2 * B) % 11 == 0;

    /// <summary>Some column's sum has two digits.</summary>
    public bool Carries => A % 10 + B % 10 > 9 || A / 10 + B / 10 > 9;

    /// <summary>The prompt, such as <c>47+85=</c>.</summary>
    public string Question => $"{A}+{B}=";

    /// <summary>Reads <see cref="Question"/> back.</summary>
    public static AdditionProblem Parse(string question)
    {
        var parts = question.TrimEnd('=').Split('+');
        return new AdditionProblem(int.Parse(parts[0]), int.Parse(parts[1]));
    }

    /// <summary>An estimate without working: <c>&gt;127</c>.</summary>
    public string Guess(int error) => $">{A + B + error}";

    /// <summary>Column by column with every carry forgotten: <c>7+5=2,4+8=2&gt;22</c>.</summary>
    public string Sloppy()
    {
        var (units, tens) = ((A % 10 + B % 10) % 10, (A / 10 + B / 10) % 10);
        return $"{A % 10}+{B % 10}={units},{A / 10}+{B / 10}={tens}>{tens}{units}";
    }

    /// <summary>Column by column with carries: <c>7+5=12,4+8+1=13&gt;132</c>.</summary>
    public string Careful()
    {
        var units = A % 10 + B % 10;
        var carry = units > 9;
        var tens = A / 10 + B / 10 + (carry ? 1 : 0);
        return $"{A % 10}+{B % 10}={units},{A / 10}+{B / 10}{(carry ? "+1" : "")}={tens}>{tens}{units % 10}";
    }

    /// <summary><c>guess</c>: no working; <c>careful</c>: some step adds a carry or has a two-digit sum; else <c>sloppy</c>.</summary>
    public static string StyleOf(string text)
    {
        if (text.StartsWith('>')) return "guess";
        var steps = text.Split('>')[0].Split(',');
        return steps.Any(step => step.Count(character => character == '+') > 1 || step[(step.IndexOf('=') + 1)..].Length > 1)
            ? "careful"
            : "sloppy";
    }
}
