using Sapo.Core.Models;

namespace Sapo.Rollout;

/// <summary>Checks requests against the model, so that nothing wrong reaches the engine's thread.</summary>
/// <param name="config">The model.</param>
/// <param name="positions">Longest sequence the engine has room for.</param>
/// <param name="hasTokenizer">Whether stop strings can be found.</param>
internal sealed class RequestCheck(ModelConfig config, int positions, bool hasTokenizer)
{
    private const string CorrectPrompt = "Correct the prompt", CorrectOptions = "Correct the sampling options";

    /// <summary>Checks a request.</summary>
    /// <returns>The ids that end a completion, and the most tokens one can have.</returns>
    /// <exception cref="UserErrorException">What does not fit, with the prompt's id.</exception>
    public (int[] StopTokenIds, int MaxNewTokens) Checked(GenerationRequest request)
    {
        var sampling = request.Sampling.Validated();
        var name = $"prompt {request.Prompt.Id}";
        var ids = request.Prompt.TokenIds;
        CheckPrompt(request.Prompt);
        Check(request.GroupSize >= 1, $"{name}: the group size is {request.GroupSize}", "at least 1", CorrectOptions);
        Check(request.FirstSampleIndex >= 0, $"{name}: the first sample index is {request.FirstSampleIndex}", "0 or more", CorrectOptions);
        var mostAlternatives = Math.Min(GenerationRequest.MaxAlternatives, config.VocabSize);
        Check(request.Alternatives >= 0 && request.Alternatives <= mostAlternatives, $"{name}: {request.Alternatives} alternatives per token are asked for", $"0 to {mostAlternatives}", CorrectOptions);
        Check(sampling.TopK <= config.VocabSize, $"{name}: topK is {sampling.TopK}", $"at most the vocabulary's {config.VocabSize:N0}", CorrectOptions);
        Check(sampling.StopStrings.Count == 0 || hasTokenizer, $"{name} has stop strings, but the engine has no tokenizer to find them with", null, "Add tokenizer.json to the model folder, or use stop token ids");
        int[] stops = [.. sampling.StopTokenIds ?? config.EndTokenIds];
        var (whose, remedy) = sampling.StopTokenIds is null ? ("the model's eos_token_id", "Correct config.json or generation_config.json") : ($"{name}: stop token id", CorrectOptions);
        foreach (var stop in stops)
            Check(stop >= 0 && stop < config.VocabSize, $"{whose} {stop}", $"ids from 0 to {config.VocabSize - 1}", remedy);
        return (stops, Math.Min(sampling.MaxNewTokens, positions - ids.Length));
    }

    /// <summary>Checks a prompt.</summary>
    /// <exception cref="UserErrorException">It does not fit; the message has its id.</exception>
    public void CheckPrompt(Prompt prompt)
    {
        var (name, ids) = ($"prompt {prompt.Id}", prompt.TokenIds);
        Check(ids.Length > 0, $"{name} is empty", "at least one token", CorrectPrompt);
        Check(ids.Length < positions, $"{name} has {ids.Length:N0} tokens", $"at most {positions - 1:N0}: the engine holds {positions:N0} and one must be left to sample", "Shorten it, or raise engine.maxSequenceLength where the model allows more");
        var outside = Array.FindIndex(ids, id => id < 0 || id >= config.VocabSize);
        Check(outside < 0, $"{name}: token {outside} is {(outside < 0 ? 0 : ids[outside])}", $"ids from 0 to {config.VocabSize - 1}", "Use the tokenizer of this model");
    }

    private static void Check(bool holds, string found, string? expected, string remedy)
    {
        if (!holds) throw new UserErrorException(found, expected, remedy);
    }
}
