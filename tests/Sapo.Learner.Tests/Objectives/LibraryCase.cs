using System.Text.Json;
using Sapo.Core.Options;
using Sapo.Learner.Objectives;
using Sapo.Testing;

namespace Sapo.Learner.Tests.Objectives;

/// <summary>
/// A loss case of golden/losses in our terms. Libraries and we agree on the numerator; where a library divides by another
/// count than the batch's own B or T, <see cref="Scale"/> is ours over theirs.
/// </summary>
/// <param name="Options">Our options.</param>
/// <param name="Scale">What our J is multiplied by before it is compared.</param>
internal sealed record LibraryCase(ObjectiveOptions Options, double Scale);

/// <summary>A batch of golden/losses: padded rows with a mask. Cells outside the mask stay in our rows as holes.</summary>
internal sealed class LibraryBatch
{
    public LibraryBatch(JsonElement batch)
    {
        double[][] rows = batch.GetProperty("logp").Rows();
        Width = rows.Length == 0 ? 0 : rows[0].Length;
        Offsets = [.. Enumerable.Range(0, rows.Length + 1).Select(row => row * Width)];
        LogProbs = batch.GetProperty("logp").Flat();
        Old = batch.GetProperty("old").Flat();
        Reference = batch.GetProperty("ref").Flat();
        Sampler = batch.GetProperty("sampling").Flat();
        Entropies = batch.GetProperty("entropy").Flat();
        Mask = batch.GetProperty("mask").Flags();
        Advantages = batch.Find("token_advantages")?.Flat()
            ?? [.. batch.GetProperty("advantages").Flat().SelectMany(advantage => Enumerable.Repeat(advantage, Width))];
        HasTokenAdvantages = batch.Find("token_advantages") is not null;
    }

    public int Width { get; }

    public int[] Offsets { get; }

    public double[] LogProbs { get; }

    public double[] Old { get; }

    public double[] Reference { get; }

    public double[] Sampler { get; }

    public double[] Entropies { get; }

    public double[] Advantages { get; }

    public bool[] Mask { get; }

    public bool HasTokenAdvantages { get; }

    public BatchTotals Totals => ObjectiveBatch.TotalsOf(Offsets, Mask);

    public int NonEmptyRows => Enumerable.Range(0, Offsets.Length - 1).Count(row => Counted(row).Any());

    /// <summary>Counted tokens of a row.</summary>
    public IEnumerable<int> Counted(int row) => Enumerable.Range(Offsets[row], Width).Where(token => Mask[token]);

    /// <summary>Largest |left - right| over counted tokens.</summary>
    public double LargestDifference(double[] left, double[] right) =>
        Enumerable.Range(0, Mask.Length).Where(token => Mask[token]).Select(token => Math.Abs(left[token] - right[token])).DefaultIfEmpty(0).Max();

    /// <summary>Largest |sum over a row of left - right|.</summary>
    public double LargestRowSum(double[] left, double[] right) =>
        Enumerable.Range(0, Offsets.Length - 1).Select(row => Math.Abs(Counted(row).Sum(token => left[token] - right[token]))).DefaultIfEmpty(0).Max();

    /// <summary>The batch as ours.</summary>
    public ObjectiveBatch ToObjectiveBatch(bool onPolicy = false) => new()
    {
        RowOffsets = Offsets,
        LogProbs = LogProbs,
        AnchorLogProbs = onPolicy ? LogProbs : Old,
        Advantages = Advantages,
        Mask = Mask,
        SamplerLogProbs = Sampler,
        ReferenceLogProbs = Reference,
        OldEntropies = Entropies,
        Entropies = Entropies,
        Totals = Totals,
    };
}
