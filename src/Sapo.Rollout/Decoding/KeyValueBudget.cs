using Sapo.Core.Models;
using Sapo.Core.Options;
using Sapo.Rollout.Scheduling;

namespace Sapo.Rollout.Decoding;

/// <summary>Whether the slots fit in memory, known before any is reserved.</summary>
internal static class KeyValueBudget
{
    /// <summary>Compares what slots and prompt rows take with what there is.</summary>
    /// <param name="config">The model.</param>
    /// <param name="options">Slots and prompt rows.</param>
    /// <param name="positions">Tokens per row.</param>
    /// <param name="availableBytes">Bytes there are; 0 or less where it is not known.</param>
    /// <exception cref="UserErrorException">They do not fit; the message says how many slots would.</exception>
    public static void Check(ModelConfig config, EngineOptions options, int positions, long availableBytes)
    {
        var rowBytes = KeyValueCache.BytesPerRow(config, positions, PrecisionNames.Parse(options.Precision));
        var others = Lane.RowsFor(options.Slots) + options.PromptRows - options.Slots;
        var fitting = availableBytes / rowBytes - others;
        if (availableBytes <= 0 || options.Slots <= fitting) return;
        throw new UserErrorException(
            $"engine.slots is {options.Slots:N0}: with {positions:N0} positions each, {options.Slots:N0} slots and {others} rows for prompts and idling take {Gibibytes((options.Slots + others) * rowBytes)} of keys and values, and {Gibibytes(availableBytes)} are free",
            fitting >= 1 ? $"at most {fitting:N0} slots" : "room for at least one slot",
            fitting >= 1 ? "Lower engine.slots or engine.maxSequenceLength" : "Lower engine.maxSequenceLength");
    }

    private static string Gibibytes(long bytes) => $"{bytes / (double)(1 << 30):N2} GiB";
}
