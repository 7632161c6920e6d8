using Sapo.Core;

namespace Sapo.Learner.Batches;

/// <summary>Refuses token ids that a model does not have.</summary>
internal static class TokenIdCheck
{
    /// <summary>Every id must be within the vocabulary.</summary>
    public static void Validate(int[] tokenIds, int vocabulary, string where)
    {
        var bad = Array.FindIndex(tokenIds, id => id < 0 || id >= vocabulary);
        if (bad >= 0) throw new UserErrorException($"Token {bad} of {where} has id {tokenIds[bad]}", $"0 to {vocabulary - 1}, the model's vocabulary", "Use the tokenizer of this model");
    }
}
