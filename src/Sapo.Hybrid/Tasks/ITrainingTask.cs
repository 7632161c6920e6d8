using Sapo.Core;
using Sapo.Learner;

namespace Sapo.Hybrid.Tasks;

/// <summary>
/// What a run asks and how it judges. Prompt n of a run is a pure function of (seed, n), so the place in the data is one
/// number: a checkpoint stores it and a resumed run asks the very same questions.
/// </summary>
public interface ITrainingTask
{
    /// <summary>Prompt ids of held-out problems begin here, so that no random number is shared with training.</summary>
    const long FirstHeldOutId = 1L << 40;

    /// <summary>The reward functions, in the order their scores are logged; a completion's reward is the sum.</summary>
    IReadOnlyList<IReward> Rewards { get; }

    /// <summary>Training prompt <paramref name="number"/>, from 0; its id is the number.</summary>
    Prompt TrainingPrompt(long number);

    /// <summary>Which problem training prompt <paramref name="number"/> asks: the same for every prompt that asks it.</summary>
    long TrainingProblem(long number);

    /// <summary>The first problems of the held-out set; ids from <see cref="FirstHeldOutId"/>.</summary>
    /// <exception cref="UserErrorException">There are fewer.</exception>
    IReadOnlyList<Prompt> HeldOutPrompts(int count);

    /// <summary>Worked example <paramref name="number"/>, from 0, or null if the task has none.</summary>
    SupervisedExample? Example(long number);

    /// <summary>The way a completion solves its problem, as a word for the report, or null if the task tells no ways apart.</summary>
    string? StyleOf(Prompt prompt, string text);
}
