// Two-digit addition, one token per character. The cold start teaches three ways to answer and does not say which is
// good; the reward says only "right" or "wrong". Problems with (a + 2b) mod 11 = 0 are held out: 737 of 8100 pairs, with
// no pair of digits missing from training.
using Sapo.Core;
using Sapo.Learner;

namespace Sapo.Hybrid.Tasks;

/// <summary>The built-in task <c>addition</c>.</summary>
public sealed class AdditionTask : ITrainingTask
{
    private const int TrainingStream = 0, ExampleStream = 1, HeldOutStream = 2;
    private const int Smallest = 10, Count = 90;

    private readonly long _seed;

    /// <summary>The task of one run.</summary>
    /// <param name="seed">Decides which problems come in which order. The held-out set and its order are the same for every seed.</param>
    public AdditionTask(long seed) => _seed = seed;

    /// <inheritdoc />
    public IReadOnlyList<IReward> Rewards { get; } = [new AdditionReward()];

    /// <inheritdoc />
    public Prompt TrainingPrompt(long number) => ToPrompt(number, Drawn(number));

    /// <inheritdoc />
    public long TrainingProblem(long number)
    {
        var problem = Drawn(number);
        return (Smallest + Count) * problem.A + problem.B;
    }

    /// <inheritdoc />
    public IReadOnlyList<Prompt> HeldOutPrompts(int count)
    {
        var pairs = new List<AdditionProblem>();
        for (var a = Smallest; a < Smallest + Count; a++)
            for (var b = Smallest; b < Smallest + Count; b++)
                if (new AdditionProblem(a, b) is { IsHeldOut: true } problem) pairs.Add(problem);
        if (count > pairs.Count)
            throw new UserErrorException(
                $"evaluation.problems is {count}", $"at most {pairs.Count}, which is how many additions are held out",
                "Correct the run file");
        var draws = new CountedDraws(seed: 0, HeldOutStream, item: 0);
        for (var i = 0; i < count; i++)
        {
            var chosen = i + draws.Below(pairs.Count - i);
            (pairs[i], pairs[chosen]) = (pairs[chosen], pairs[i]);
        }
        return [.. pairs.Take(count).Select((problem, i) => ToPrompt(ITrainingTask.FirstHeldOutId + i, problem))];
    }

    /// <inheritdoc />
    public SupervisedExample? Example(long number)
    {
        var draws = new CountedDraws(_seed, ExampleStream, number);
        var problem = Draw(ref draws);
        var text = draws.Below(100) switch
        {
            < 55 => problem.Guess(error: draws.Below(19) - 9),
            < 70 => problem.Sloppy(),
            _ => problem.Careful(),
        };
        return new SupervisedExample(PromptIds(problem), [.. AdditionTokens.Encode(text), AdditionTokens.End]);
    }

    /// <inheritdoc />
    public string? StyleOf(Prompt prompt, string text) =>
        AdditionProblem.Parse(prompt.Text!).Carries ? AdditionProblem.StyleOf(text) : null;

    private AdditionProblem Drawn(long number)
    {
        var draws = new CountedDraws(_seed, TrainingStream, number);
        return Draw(ref draws);
    }

    private static AdditionProblem Draw(ref CountedDraws draws)
    {
        AdditionProblem problem;
        do problem = new AdditionProblem(Smallest + draws.Below(Count), Smallest + draws.Below(Count));
        while (problem.IsHeldOut);
        return problem;
    }

    private static Prompt ToPrompt(long id, AdditionProblem problem) => new()
    {
        Id = id, TokenIds = PromptIds(problem), Text = problem.Question, Answer = $"{problem.A + problem.B}",
    };

    private static int[] PromptIds(AdditionProblem problem) => [AdditionTokens.Begin, .. AdditionTokens.Encode(problem.Question)];
}
