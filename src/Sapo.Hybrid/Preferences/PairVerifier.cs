using System.Text.RegularExpressions;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Core.Preferences;
using Sapo.Hybrid.Rewards.Mathematics;

namespace Sapo.Hybrid.Preferences;

/// <summary>
/// The verifier of the preference stage: rules in place of VerIPO's language-model judge. Right by reward, repetitive by runs of
/// four tokens, too short by tokens, and consistent if no equation that the text states between numbers is false.
/// </summary>
internal static partial class PairVerifier
{
    private const int RunLength = 4;

    /// <summary>What the rules find of one completion.</summary>
    /// <param name="completion">The completion.</param>
    /// <param name="text">Its text.</param>
    /// <param name="reward">Its reward, or null: it then counts as wrong.</param>
    /// <param name="options">The limits.</param>
    public static VerifiedCompletion Verify(Completion completion, string text, double? reward, PreferenceOptions options) => new(
        text, Correct: reward > options.SolvedAbove, Repetitive: RepeatedShare(completion.TokenIds) > options.MostRepetition,
        TooShort: completion.TokenIds.Length < options.LeastTokens, Consistent: StatesNothingFalse(text));

    /// <summary>Share of the runs of four tokens that occurred before in the completion.</summary>
    internal static double RepeatedShare(int[] tokens)
    {
        var seen = new HashSet<(int, int, int, int)>();
        var repeated = 0;
        for (var start = 0; start + RunLength <= tokens.Length; start++)
            if (!seen.Add((tokens[start], tokens[start + 1], tokens[start + 2], tokens[start + 3]))) repeated++;
        return tokens.Length < RunLength ? 0 : repeated / (double)(tokens.Length - RunLength + 1);
    }

    /// <summary>True when every equation of the form <c>4+8+1=13</c> holds, also where there is none.</summary>
    internal static bool StatesNothingFalse(string text) =>
        Equation().Matches(text).All(equation => MathAnswer.AreEqual(equation.Groups["right"].Value, equation.Groups["left"].Value));

    [GeneratedRegex(@"(^|[^\d.])(?<left>\d+(\.\d+)?(\s*[-+*/]\s*\d+(\.\d+)?)+)\s*=\s*(?<right>-?\d+(\.\d+)?)", RegexOptions.ExplicitCapture | RegexOptions.NonBacktracking)]
    private static partial Regex Equation();
}
