using System.Diagnostics;
using Sapo.Core;
using Sapo.Core.Options;
using Sapo.Hybrid.Generation;
using Sapo.Hybrid.Rewards.Mathematics;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Tasks;

/// <summary>Makes the task that options name.</summary>
internal static class TrainingTasks
{
    /// <summary>The task.</summary>
    /// <param name="options">Which one.</param>
    /// <param name="seed">Decides the order of its prompts.</param>
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="modelFolder">The model's folder, for its chat template.</param>
    public static ITrainingTask Create(TaskOptions options, long seed, HuggingFaceTokenizer tokenizer, string modelFolder) => options switch
    {
        AdditionTaskOptions => Addition(seed, tokenizer, modelFolder),
        JsonlTaskOptions jsonl => new JsonlTask(jsonl, seed, new PromptEncoder(tokenizer, modelFolder, jsonl.Chat, jsonl.SystemMessage)),
        _ => throw new UnreachableException($"The task {options.GetType().Name} has options but no implementation."),
    };

    /// <summary>The task makes token ids by itself, so the model's tokens must be its own.</summary>
    private static AdditionTask Addition(long seed, HuggingFaceTokenizer tokenizer, string modelFolder)
    {
        if (!tokenizer.Encode(AdditionTokens.Characters, addSpecialTokens: false).SequenceEqual(AdditionTokens.Encode(AdditionTokens.Characters)))
            throw new UserErrorException(
                $"{modelFolder} has other tokens than the addition task", "a model that was made for it",
                "Name one that a run with model.create left (its coldstart or final folder), or another task");
        return new AdditionTask(seed);
    }

    /// <summary>The reward function of a name that options allow.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="abstains">Whether it abstains from completions without an answer.</param>
    public static IReward Reward(string name, bool abstains) => name switch
    {
        "exact" => new ExactMatchReward(abstains),
        "math" => new MathReward(AnswerForm.Any, abstains),
        _ => throw new UnreachableException($"The reward {name} is allowed but has no implementation."),
    };
}
