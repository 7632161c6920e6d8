using Sapo.Rollout.Decoding;

namespace Sapo.Rollout.Tests.Decoding;

/// <summary>The contract on ONNX Runtime GenAI.</summary>
public sealed class GenAiDecodeSessionTests(TinyModel model) : DecodeSessionContract, IClassFixture<TinyModel>
{
    internal override int VocabSize => model.Config.VocabSize;

    internal override IDecodeSession Create(RowBuffers rows, int positions)
    {
        using var loader = new GenAiPolicyLoader(model.Config, rows, rows.Rows, positions, threads: 2);
        return loader.Load(model.Policy, prepack: true).Activate();
    }
}
