using System.Runtime.InteropServices;
using Microsoft.ML.OnnxRuntimeGenAI;

namespace Sapo.Parity.Graph;

/// <summary>The extra inputs of decode.genai.onnx, over pinned arrays that may be overwritten before each token.</summary>
internal sealed class GenAiDrawInputs : IDisposable
{
    private readonly List<GCHandle> _pins = [];
    private readonly List<(string Name, Tensor Tensor)> _tensors = [];

    public GenAiDrawInputs(int rows)
    {
        Uniform = Add<float>("uniform", ElementType.float32, rows, 0);
        Temperature = Add<float>("temperature", ElementType.float32, rows, 1);
        TopK = Add<long>("top_k", ElementType.int64, rows, 0);
        TopP = Add<float>("top_p", ElementType.float32, rows, 1);
        MinP = Add<float>("min_p", ElementType.float32, rows, 0);
        Add("min_p_first", ElementType.bool_t, rows, false);
        Add<long>("kept_limit", ElementType.int64, rows, Draws.DefaultKeptLimit);
        Add<float>("history_counts", ElementType.float32, rows, 0);
        Add<float>("repetition_penalty", ElementType.float32, rows, 1);
        Add<float>("frequency_penalty", ElementType.float32, rows, 0);
        Add<float>("presence_penalty", ElementType.float32, rows, 0);
        foreach (var name in new[] { "history", "history_length", "alternatives" }) Add<long>(name, ElementType.int64, rows, 0);
        Forced = Add<long>("forced_token", ElementType.int64, rows, -1);
    }

    public float[] Uniform { get; }

    public float[] Temperature { get; }

    public long[] TopK { get; }

    public float[] TopP { get; }

    public float[] MinP { get; }

    public long[] Forced { get; }

    public void Set(Generator generator)
    {
        foreach (var (name, tensor) in _tensors) generator.SetModelInput(name, tensor);
    }

    public void Dispose()
    {
        foreach (var (_, tensor) in _tensors) tensor.Dispose();
        foreach (var pin in _pins) pin.Free();
    }

    private T[] Add<T>(string name, ElementType type, int rows, T value) where T : unmanaged
    {
        var values = Enumerable.Repeat(value, rows).ToArray();
        var pin = GCHandle.Alloc(values, GCHandleType.Pinned);
        _pins.Add(pin);
        _tensors.Add((name, new Tensor(pin.AddrOfPinnedObject(), [rows, 1], type)));
        return values;
    }
}
