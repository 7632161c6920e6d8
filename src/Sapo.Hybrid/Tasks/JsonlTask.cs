// Problems from files. Every epoch asks all training problems once, in an order that is a function of seed and epoch, so
// prompt n is one too.
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Generation;
using Sapo.Learner;

namespace Sapo.Hybrid.Tasks;

/// <summary>The task <c>jsonl</c>.</summary>
public sealed class JsonlTask : ITrainingTask
{
    private const int OrderStream = 3;

    private readonly Prompt[] _train;
    private readonly Prompt[] _heldOut;
    private readonly long _seed;
    private readonly Lock _gate = new();
    private (long Epoch, int[] Order) _order = (-1, []);

    /// <summary>Reads and encodes the files.</summary>
    /// <param name="options">Files and reward.</param>
    /// <param name="seed">Decides the order.</param>
    /// <param name="encoder">Text to ids.</param>
    /// <exception cref="UserErrorException">A file is missing or a line is wrong.</exception>
    public JsonlTask(JsonlTaskOptions options, long seed, PromptEncoder encoder)
    {
        _seed = seed;
        _train = Read(options.Train, encoder, firstId: 0);
        _heldOut = options.HeldOut is null ? [] : string.Equals(options.HeldOut, options.Train, StringComparison.Ordinal)
            ? [.. _train.Select(prompt => prompt with { Id = ITrainingTask.FirstHeldOutId + prompt.Id })]
            : Read(options.HeldOut, encoder, ITrainingTask.FirstHeldOutId);
        Rewards = [TrainingTasks.Reward(options.Reward, options.Unanswered == "abstain")];
    }

    /// <inheritdoc />
    public IReadOnlyList<IReward> Rewards { get; }

    /// <summary>Number of held-out problems.</summary>
    public int HeldOutCount => _heldOut.Length;

    /// <inheritdoc />
    public Prompt TrainingPrompt(long number) => _train[TrainingProblem(number)] with { Id = number };

    /// <inheritdoc />
    public long TrainingProblem(long number)
    {
        lock (_gate)
        {
            var (epoch, place) = Math.DivRem(number, _train.Length);
            if (_order.Epoch != epoch) _order = (epoch, Order(epoch));
            return _order.Order[place];
        }
    }

    /// <inheritdoc />
    public IReadOnlyList<Prompt> HeldOutPrompts(int count) => count <= _heldOut.Length
        ? [.. _heldOut.Take(count)]
        : throw new UserErrorException(
            $"{count} held-out problems are asked for", $"at most {_heldOut.Length}, which is how many the file holds",
            "Correct evaluation.problems, or --problems");

    /// <inheritdoc />
    public SupervisedExample? Example(long number) => null;

    /// <inheritdoc />
    public string? StyleOf(Prompt prompt, string text) => null;

    private static Prompt[] Read(string path, PromptEncoder encoder, long firstId)
    {
        var prompts = new List<Prompt>();
        foreach (var line in PromptFile.Read(path))
        {
            if (line.Answer is null)
                throw new UserErrorException(
                    $"{path}, line {line.Number} has no answer", "an answer that completions are compared with",
                    "Add it, or leave the line out");
            prompts.Add(encoder.Encode(line, path, firstId + prompts.Count));
        }
        return [.. prompts];
    }

    private int[] Order(long epoch)
    {
        var draws = new CountedDraws(_seed, OrderStream, epoch);
        var order = Enumerable.Range(0, _train.Length).ToArray();
        for (var i = order.Length - 1; i > 0; i--)
        {
            var chosen = draws.Below(i + 1);
            (order[i], order[chosen]) = (order[chosen], order[i]);
        }
        return order;
    }
}
