// All parameters of a model, or of an adapter, in one flat buffer, all gradients in another of the same layout: clipping, the optimizer
// and a snapshot are a few large operations, whatever the number of layers.
//
//   [ matrices, in checkpoint order                     | norms and biases, in checkpoint order ]
//     embed | q k v o gate up down | q k v o ... | head   norm | q k v bias | norm ...
//     <------------- weight decay applies ------------>
//
// Query, key and value weights follow each other, and so do gate and up: each pack is one view, read by one product.
using Sapo.Core.Models;
using static TorchSharp.torch;

namespace Sapo.Learner.Model;

/// <summary>A parameter, or several that follow each other stacked by rows: views of the flat buffers, owned by them.</summary>
/// <param name="Value">The weights.</param>
/// <param name="Gradient">Where the backward pass adds the gradient; null where the weights are frozen.</param>
internal sealed record Parameter(Tensor Value, Tensor? Gradient);

/// <summary>Where a checkpoint tensor lies in the flat buffers.</summary>
/// <param name="Name">Its Hugging Face name.</param>
/// <param name="Shape">Its dimensions.</param>
/// <param name="Offset">Its first element.</param>
internal sealed record ParameterSlot(string Name, long[] Shape, long Offset)
{
    /// <summary>Number of elements.</summary>
    public long Count => Shape.Aggregate(1L, (product, size) => product * size);
}

/// <summary>The flat buffers of weights and gradients, and every view of them.</summary>
internal sealed class FlatParameters : IDisposable
{
    private readonly Dictionary<string, ParameterSlot> _slots = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Parameter> _named = new(StringComparer.Ordinal);
    private readonly List<Tensor> _views = [];
    private readonly Tensor? _gradients;

    /// <summary>The buffers of a model.</summary>
    /// <param name="config">Decides names, shapes and order.</param>
    /// <param name="precision">Float32, or Float64 where a test wants more digits than training needs.</param>
    /// <param name="device">Where the buffers live.</param>
    /// <param name="frozen">True for weights that are never trained: there are no gradients.</param>
    public FlatParameters(ModelConfig config, ScalarType precision, Device device, bool frozen = false)
        : this([.. config.Parameters()], precision, device, frozen)
    {
    }

    /// <summary>Allocates the buffers, zero everywhere.</summary>
    /// <param name="all">Names and shapes, in checkpoint order.</param>
    /// <param name="precision">Of every element.</param>
    /// <param name="device">Where the buffers live.</param>
    /// <param name="frozen">True for weights that are never trained: there are no gradients.</param>
    public FlatParameters((string Name, long[] Shape)[] all, ScalarType precision, Device device, bool frozen = false)
    {
        long offset = 0;
        foreach (var (name, shape) in all.Where(IsDecayed).Concat(all.Where(parameter => !IsDecayed(parameter))))
        {
            var slot = new ParameterSlot(name, shape, offset);
            _slots.Add(name, slot);
            offset += slot.Count;
            if (IsDecayed((name, shape))) DecayedCount = offset;
        }
        InCheckpointOrder = [.. all.Select(parameter => _slots[parameter.Name])];
        Values = zeros([offset], precision, device).DetachFromDisposeScope();
        if (!frozen) _gradients = zeros([offset], precision, device).DetachFromDisposeScope();
    }

    /// <summary>[n] all weights.</summary>
    public Tensor Values { get; }

    /// <summary>[n] all gradients.</summary>
    public Tensor Gradients => _gradients ?? throw new InvalidOperationException("Frozen weights have no gradients.");

    /// <summary>The first elements, up to this many, are matrices; norms and biases, which are not decayed, follow.</summary>
    public long DecayedCount { get; }

    /// <summary>Every checkpoint tensor, in the order checkpoints are written.</summary>
    public IReadOnlyList<ParameterSlot> InCheckpointOrder { get; }

    /// <summary>Where the tensor of a checkpoint name lies.</summary>
    public ParameterSlot Slot(string name) => _slots[name];

    /// <summary>The parameter of a checkpoint name: always the same views.</summary>
    public Parameter this[string name]
    {
        get
        {
            if (_named.TryGetValue(name, out var known)) return known;
            return _named[name] = View(_slots[name].Offset, _slots[name].Shape);
        }
    }

    /// <summary>Parameters that follow each other in the flat buffer, as one: matrices stacked by rows, vectors end to end.</summary>
    public Parameter Packed(params string[] names)
    {
        var first = _slots[names[0]];
        long rows = 0, next = first.Offset;
        foreach (var slot in names.Select(name => _slots[name]))
        {
            if (slot.Offset != next) throw new InvalidOperationException($"{slot.Name} does not follow {names[0]} in the flat buffer.");
            rows += slot.Shape[0];
            next += slot.Count;
        }
        return View(first.Offset, [rows, .. first.Shape[1..]]);
    }

    /// <summary>The parameter, or null if this model has none of that name.</summary>
    public Parameter? Find(string name) => _slots.ContainsKey(name) ? this[name] : null;

    /// <summary>The dimensions of a checkpoint tensor.</summary>
    public IReadOnlyList<long> ShapeOf(string name) => _slots[name].Shape;

    /// <summary>Copies every tensor of a checkpoint into the flat buffer.</summary>
    public void Load(HuggingFaceCheckpoint checkpoint)
    {
        foreach (var slot in InCheckpointOrder)
        {
            using var scope = NewDisposeScope();
            var values = new float[slot.Count];
            checkpoint.CopyTo(slot.Name, values);
            Values.narrow(0, slot.Offset, slot.Count).copy_(tensor(values));
        }
    }

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (var view in _views) view.Dispose();
        Values.Dispose();
        _gradients?.Dispose();
    }

    private Parameter View(long offset, long[] shape)
    {
        using var scope = NewDisposeScope();
        var count = shape.Aggregate(1L, (product, size) => product * size);
        var parameter = new Parameter(
            Values.narrow(0, offset, count).view(shape).DetachFromDisposeScope(), _gradients?.narrow(0, offset, count).view(shape).DetachFromDisposeScope());
        _views.Add(parameter.Value);
        if (parameter.Gradient is not null) _views.Add(parameter.Gradient);
        return parameter;
    }

    private static bool IsDecayed((string Name, long[] Shape) parameter) => parameter.Shape.Length == 2;
}
