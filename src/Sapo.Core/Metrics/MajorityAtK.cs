// maj@k over all subsets of size k, by counting instead of enumerating: for each number of votes t that the right answer
// may get, the other answers get at most t each; those that get exactly t share the win.
namespace Sapo.Core.Metrics;

/// <summary>
/// maj@k: the probability that the most frequent answer among k samples is right, over all subsets of k of the samples.
/// A tie of m answers counts 1/m when the right one is among them, so the order of the samples does not matter.
/// </summary>
public static class MajorityAtK
{
    /// <summary>Beyond this many samples the number of subsets exceeds what a double holds.</summary>
    public const int MostSamples = 1000;

    /// <summary>The probability for one problem.</summary>
    /// <param name="answers">The samples' answers; equal strings (ordinal) are the same answer, the empty one included.</param>
    /// <param name="right">The right answer.</param>
    /// <param name="k">1 to the number of answers.</param>
    /// <exception cref="ArgumentOutOfRangeException">k is out of its range, or there are more than <see cref="MostSamples"/> answers.</exception>
    public static double Estimate(IReadOnlyCollection<string> answers, string right, int k)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(answers.Count, MostSamples, nameof(answers));
        ArgumentOutOfRangeException.ThrowIfLessThan(k, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(k, answers.Count);
        var correct = answers.Count(answer => string.Equals(answer, right, StringComparison.Ordinal));
        int[] others = [.. answers.Where(answer => !string.Equals(answer, right, StringComparison.Ordinal)).GroupBy(answer => answer, StringComparer.Ordinal).Select(group => group.Count())];
        var winning = 0.0;
        for (var votes = 1; votes <= Math.Min(correct, k); votes++) winning += Binomial(correct, votes) * SharedWins(others, votes, k - votes);
        return winning / Binomial(answers.Count, k);
    }

    /// <summary>Ways to choose <paramref name="rest"/> samples of the other answers with at most <paramref name="votes"/> of each, every way divided by 1 + the answers that get just as many.</summary>
    private static double SharedWins(int[] others, int votes, int rest)
    {
        // ways[tied][chosen]: subsets of the answers looked at so far
        var mostTied = rest / votes;
        var ways = new double[mostTied + 1, rest + 1];
        ways[0, 0] = 1;
        foreach (var count in others) ways = WithAnswer(ways, count, votes);
        var sum = 0.0;
        for (var tied = 0; tied <= mostTied; tied++) sum += ways[tied, rest] / (tied + 1);
        return sum;
    }

    private static double[,] WithAnswer(double[,] ways, int count, int votes)
    {
        var next = new double[ways.GetLength(0), ways.GetLength(1)];
        for (var taken = 0; taken <= Math.Min(count, votes); taken++)
        {
            var choices = Binomial(count, taken);
            var ties = taken == votes ? 1 : 0;
            for (var tied = ties; tied < ways.GetLength(0); tied++)
                for (var chosen = taken; chosen < ways.GetLength(1); chosen++)
                    next[tied, chosen] += choices * ways[tied - ties, chosen - taken];
        }
        return next;
    }

    private static double Binomial(int n, int k)
    {
        var result = 1.0;
        for (var i = 1; i <= Math.Min(k, n - k); i++) result = result * (n - Math.Min(k, n - k) + i) / i;
        return result;
    }
}
