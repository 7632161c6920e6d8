using System.Globalization;
using System.Text.Json;
using Sapo.Core;
using Sapo.Sync;

namespace Sapo.Parity.Models;

/// <summary>A file of golden/llamacpp: what llama.cpp computed of a sequence of tokens with a random model. Positions count from 0. A value is read when it is first asked for.</summary>
internal sealed record LlamaCppReference(string File, JsonElement Values)
{
    /// <summary>Every file that is there.</summary>
    public static IEnumerable<LlamaCppReference> All() => Directory.Exists(Golden.PathOf("llamacpp"))
        ? Directory.EnumerateFiles(Golden.PathOf("llamacpp"), "*.json").Order(StringComparer.Ordinal)
            .Select(path => new LlamaCppReference(Path.GetFileName(path), GoldenJson.Read("llamacpp", Path.GetFileName(path))))
        : [];

    /// <summary>The command line that makes the model.</summary>
    public string Make => field ??= Values.GetProperty("make").GetString()!;

    public int[] Tokens => field ??= [.. Values.GetProperty("tokens").Flat().Select(id => (int)id)];

    /// <summary>Per position, of all logits.</summary>
    public double[] LogSumExp => field ??= Values.GetProperty("logsumexp").Flat();

    /// <summary>Per position but the last, of the token that follows; all positions in one run.</summary>
    public double[] NextLogProbs => field ??= Values.GetProperty("next_token_logprobs").Flat();

    /// <summary>The same, one position per run.</summary>
    public double[] NextLogProbsStepwise => field ??= Values.GetProperty("next_token_logprobs_step").Flat();

    /// <summary>Per position the most likely tokens, most likely first.</summary>
    public RankedToken[][] Top => field ??= [.. Values.GetProperty("top").EnumerateArray().Select(position =>
        position.Rows().Select(token => new RankedToken((int)token[0], token[1], token[2])).ToArray())];

    /// <summary>All logits of some positions.</summary>
    public Dictionary<int, double[]> FullLogits => field ??= Values.GetProperty("full_logits").EnumerateObject()
        .ToDictionary(position => int.Parse(position.Name, CultureInfo.InvariantCulture), position => position.Value.Flat());
}

/// <summary>A token with its logit and log-prob.</summary>
internal readonly record struct RankedToken(int Id, double Logit, double LogProb);

/// <summary>The models of the files, each made and imported once.</summary>
public sealed class LlamaCppModels : IDisposable
{
    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("sapo-llamacpp-");
    private readonly Dictionary<string, (string Source, PublishedPolicy Policy)> _made = new(StringComparer.Ordinal);

    /// <summary>The model as a Hugging Face folder, and imported.</summary>
    /// <param name="commandLine">What makes it.</param>
    /// <param name="model">The same, understood.</param>
    internal (string Source, PublishedPolicy Policy) Make(string commandLine, RandomModel model)
    {
        if (_made.TryGetValue(commandLine, out var made)) return made;
        var source = Path.Combine(_scratch.FullName, $"{_made.Count}-source");
        model.Write(source);
        return _made[commandLine] = (source, PolicyImporter.Import(source, Path.Combine(_scratch.FullName, $"{_made.Count}-policy")));
    }

    /// <inheritdoc />
    public void Dispose() => _scratch.Delete(recursive: true);
}
