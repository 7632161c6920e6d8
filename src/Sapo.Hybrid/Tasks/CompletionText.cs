using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Tasks;

/// <summary>Completions as text, for rewards and for people. Ids that only the model knows, not its tokenizer, read as U+FFFD.</summary>
public sealed class CompletionText(HuggingFaceTokenizer tokenizer)
{
    /// <summary>The text of sampled ids, special tokens left out. Thread-safe.</summary>
    public string Of(int[] ids) => tokenizer.Decode(ids, skipSpecialTokens: true);
}
