using System.Text;
using Sapo.Rollout.Tokenization;

namespace Sapo.Hybrid.Tasks;

/// <summary>
/// Completions as text, for rewards and for people. A model's vocabulary may be larger than its tokenizer's: such ids
/// read as U+FFFD.
/// </summary>
public sealed class CompletionText(HuggingFaceTokenizer tokenizer)
{
    /// <summary>The text of sampled ids, special tokens left out. Thread-safe.</summary>
    public string Of(int[] ids)
    {
        var text = new StringBuilder();
        for (var start = 0; start < ids.Length;)
        {
            var end = Array.FindIndex(ids, start, id => tokenizer.TokenText(id) is null);
            if (end < 0) end = ids.Length;
            text.Append(tokenizer.Decode(ids.AsSpan(start, end - start), skipSpecialTokens: true));
            if (end < ids.Length) text.Append('\uFFFD');
            start = end + 1;
        }
        return text.ToString();
    }
}
