using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;
using Sapo.Rollout.Scheduling;

namespace Sapo.Rollout;

/// <summary>Bytes a rollout engine needs, from its options alone and before anything is loaded.</summary>
/// <param name="VersionBytes">Of one loaded version: its mapped weights, and the matrices reordered for speed.</param>
/// <param name="KeyValueBytes">Keys and values of sequences of the given length in all rows that will be used.</param>
public sealed record EngineFootprint(long VersionBytes, long KeyValueBytes)
{
    /// <summary>While versions are switched, two are loaded.</summary>
    public long SwitchingBytes => 2 * VersionBytes + KeyValueBytes;

    /// <summary>Of a model served as options say.</summary>
    /// <param name="config">The model.</param>
    /// <param name="options">The engine's options.</param>
    /// <param name="completions">Completions that are asked for at once, at most.</param>
    /// <param name="tokens">Tokens of a prompt and its completion; memory beyond them is reserved but never touched.</param>
    public static EngineFootprint Of(ModelConfig config, EngineOptions options, long completions, int tokens)
    {
        var positions = Math.Min(tokens, Math.Min(options.MaxSequenceLength ?? int.MaxValue, config.MaxPositions));
        var rows = Lane.RowsFor((int)Math.Min(options.Slots, completions)) + options.PromptRows;
        var precision = PrecisionNames.Parse(options.Precision);
        var embedding = (long)config.VocabSize * config.HiddenSize; // looked up, and multiplied where it is the head too
        var multiplied = ElementBytes(precision) * (config.ParameterCount - (config.TieWordEmbeddings ? 0 : embedding));
        var lookedUp = precision is Precision.Int8 or Precision.Int4 ? sizeof(float) * embedding : config.TieWordEmbeddings ? 0 : ElementBytes(precision) * embedding;
        return new EngineFootprint(
            (long)(multiplied + lookedUp + (MatrixProductsOf.Options(options, hasDirectGraph: true) is MatrixProducts.Direct or MatrixProducts.Never ? 0 : multiplied)), rows * KeyValueCache.BytesPerRow(config, positions, precision));
    }

    /// <summary>Of one weight of a matrix; quantised ones come with a scale of 4 bytes per 32.</summary>
    private static double ElementBytes(Precision precision) => precision switch
    {
        Precision.Int8 => 1 + 4 / 32.0,
        Precision.Int4 => 0.5 + 4 / 32.0,
        Precision.Fp16 or Precision.Bf16 => sizeof(ushort),
        _ => sizeof(float),
    };
}
