using System.Runtime.InteropServices;
using Sapo.Core;
using Sapo.Core.Safetensors;

namespace Sapo.Learner.Tests.Model;

/// <summary>A safetensors file of reference values, read as doubles.</summary>
internal sealed class GoldenTensors(string path) : IDisposable
{
    private readonly SafetensorsFile _file = SafetensorsFile.Open(path);

    public IEnumerable<string> Names => _file.Entries.Select(entry => entry.Name);

    public bool Has(string name) => _file.Find(name) is not null;

    public long[] Shape(string name) => _file.Find(name)!.Shape;

    /// <summary>All elements of a tensor, row-major.</summary>
    public double[] Values(string name)
    {
        var entry = _file.Find(name) ?? throw new KeyNotFoundException($"{path} has no tensor {name}.");
        var bytes = _file.Read(entry);
        return entry.Type switch
        {
            WeightType.F32 => Array.ConvertAll(MemoryMarshal.Cast<byte, float>(bytes).ToArray(), value => (double)value),
            WeightType.F64 => MemoryMarshal.Cast<byte, double>(bytes).ToArray(),
            WeightType.I64 => Array.ConvertAll(MemoryMarshal.Cast<byte, long>(bytes).ToArray(), value => (double)value),
            _ => throw new NotSupportedException($"{name} is {entry.Type}."),
        };
    }

    /// <summary>The rows of a two-dimensional tensor.</summary>
    public double[][] Rows(string name) => [.. Values(name).Chunk((int)Shape(name)[1])];

    public void Dispose() => _file.Dispose();
}
