using Sapo.Core.Models;
using Sapo.Rollout.Decoding;
using Sapo.Rollout.Kernels;

namespace Sapo.Rollout.Tests.Decoding;

/// <summary>The contract on ONNX Runtime with our own products, and what only this session does.</summary>
public sealed class OrtDecodeSessionTests(TinyModel model) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions) => OrtSessions.Create(model, rows, positions, MatrixProducts.Direct);

    [Theory]
    [InlineData(false, false), InlineData(true, false), InlineData(false, true), InlineData(true, true)]
    public void Decode_RepeatedSteps_AllocatesNothing(bool penalties, bool truncate)
    {
        const int Steps = 80;
        using var rows = new RowBuffers(4, VocabSize, positions: Steps + 8);
        using var session = Create(rows, positions: Steps + 8);
        var sampling = new SamplingOptions { RepetitionPenalty = penalties ? 1.2 : 1, TopK = truncate ? 5 : 0 };
        for (var row = 0; row < 4; row++) rows.SetDraw(row, sampling, [1, 2, 3], alternatives: penalties ? 2 : 0);
        AllocatedBySteps(session, rows, truncate, Steps); // makes the binding of these rows, and whatever the process initialises at a first use
        // What a step allocated would be seen in every round; a collection that another test causes counts the rest of this thread's block in one.
        Assert.Equal(0, Enumerable.Range(0, 5).Min(_ => AllocatedBySteps(session, rows, truncate, Steps)));
    }

    private static long AllocatedBySteps(IDecodeSession session, RowBuffers rows, bool truncate, int steps)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var step = 0; step < steps; step++)
        {
            for (var row = 0; row < 4; row++) rows.Feed(row, (int)rows.SampledTokens.Span[row], position: 3 + step, uniform: 0.5f);
            session.Decode(0, 4, truncate);
        }
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }
}

/// <summary>The contract with ONNX Runtime's products and matrices that it reorders.</summary>
public sealed class PrepackedOrtDecodeSessionTests(TinyModel model) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions) => OrtSessions.Create(model, rows, positions, MatrixProducts.Before);
}

/// <summary>The contract with ONNX Runtime's products and matrices as they lie in the file.</summary>
public sealed class UnpackedOrtDecodeSessionTests(TinyModel model) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions) => OrtSessions.Create(model, rows, positions, MatrixProducts.Never);
}

/// <summary>The contract on a graph that gives logits, run as a stock folder: as the publisher writes it for any GenAI program.</summary>
public sealed class StockDecodeSessionTests(TinyModel model) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions) => OrtSessions.CreateStock(model.Stock(), rows, positions);
}

/// <summary>The contract with matrices in 8 bits.</summary>
public sealed class Int8OrtDecodeSessionTests(TinyModel model) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions) => OrtSessions.Create(model, rows, positions, MatrixProducts.Before, Precision.Int8);
}

/// <summary>The contract with matrices in 4 bits.</summary>
public sealed class Int4OrtDecodeSessionTests(TinyModel model) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions) => OrtSessions.Create(model, rows, positions, MatrixProducts.Before, Precision.Int4);
}

/// <summary>The contract with weights, activations and caches in 16-bit floats.</summary>
public sealed class Fp16OrtDecodeSessionTests(TinyModel model) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions) => OrtSessions.Create(model, rows, positions, MatrixProducts.Before, Precision.Fp16);
}

internal static class OrtSessions
{
    public static IDecodeSession Create(TinyModel model, RowBuffers rows, int positions, MatrixProducts products, Precision precision = Precision.Fp32)
    {
        var cache = new KeyValueCache(model.Config, rows.Rows, positions, precision);
        if (products != MatrixProducts.Direct)
            return new WithCache(new OrtDecodeSession(OrtPolicyModel.Load(model.At(precision), model.Config, threads: 2, products == MatrixProducts.Before, precision), cache, rows, ownsModel: true), cache);
        var shared = OrtPolicyModel.DirectSession(model.Policy, model.Config, threads: 2);
        return new WithCache(new OrtDecodeSession(OrtPolicyModel.LoadDirect(model.Policy, model.Config, shared), cache, rows, ownsModel: true), cache, shared);
    }

    public static IDecodeSession CreateStock(PublishedPolicy policy, RowBuffers rows, int positions)
    {
        var stock = StockModel.Load(policy, threads: 2, prepack: true);
        var cache = new KeyValueCache(stock.Config, rows.Rows, positions);
        return new WithCache(new StockDecodeSession(stock, cache, rows, ownsModel: true), cache);
    }

    /// <summary>Disposes the keys and values with the session.</summary>
    private sealed class WithCache(IDecodeSession session, KeyValueCache cache, IDisposable? shared = null) : IDecodeSession
    {
        public PolicyVersion Version => session.Version;

        public bool StartsRowsTogether => session.StartsRowsTogether;

        public long PrefilledTokens => session.PrefilledTokens;

        public int MinimumRows => session.MinimumRows;

        public void Prefill(int row, ReadOnlySpan<int> tokenIds, int position) => session.Prefill(row, tokenIds, position);

        public void CopyRow(int from, int to, int length) => session.CopyRow(from, to, length);

        public void Decode(int firstRow, int rowCount, bool truncate) => session.Decode(firstRow, rowCount, truncate);

        public void Dispose()
        {
            session.Dispose();
            shared?.Dispose();
            cache.Dispose();
        }
    }
}
