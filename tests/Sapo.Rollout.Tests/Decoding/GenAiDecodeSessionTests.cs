using Sapo.Core.Models;
using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Tests.Decoding;

/// <summary>The contract on ONNX Runtime GenAI.</summary>
public sealed class GenAiDecodeSessionTests(TinyModel model) : GenAiDecodeSessionContract(model, Precision.Fp32);

/// <summary>The contract on GenAI with quantised matrices.</summary>
public sealed class QuantizedGenAiDecodeSessionTests(TinyModel model) : GenAiDecodeSessionContract(model, Precision.Int4);

public abstract class GenAiDecodeSessionContract(TinyModel model, Precision precision) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions)
    {
        using var loader = new GenAiPolicyLoader(model.Config, rows, rows.Rows, positions, threads: 2, precision);
        return loader.Load(model.At(precision), prepack: true).Activate();
    }
}
