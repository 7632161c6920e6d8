using static TorchSharp.torch;
using static TorchSharp.Tests.Verify;

namespace TorchSharp.Tests;

/// <summary>New tensors: their values, shapes, types, and whose memory they are.</summary>
public sealed class FactoryTests
{
    private static readonly ScalarType[] AllTypes =
        [ScalarType.Byte, ScalarType.Int8, ScalarType.Int16, ScalarType.Int32, ScalarType.Int64, ScalarType.Float16, ScalarType.BFloat16,
            ScalarType.Float32, ScalarType.Float64, ScalarType.Bool];

    [Fact]
    public void Constant_InEveryFormOfShape_IsFilled()
    {
        using DisposeScope scope = NewDisposeScope();
        foreach (Tensor t in (Tensor[])[zeros(6), zeros(6L), zeros(2, 3), zeros(2L, 3L), zeros([2L, 3]), zeros(stackalloc long[] { 2, 3 }),
            zeros(1, 2, 3), zeros(1L, 2, 3), zeros(1, 1, 2, 3), zeros(1L, 1, 2, 3)]) Values(t.flatten(), [6], new double[6]);
        foreach (Tensor t in (Tensor[])[ones(2), ones(2L), ones(1, 2), ones(1L, 2), ones([2L]), ones(stackalloc long[] { 2 }),
            ones(1, 1, 2), ones(1L, 1, 2), ones(1, 1, 1, 2), ones(1L, 1, 1, 2)]) Values(t.flatten(), [2], [1, 1]);
        foreach (Tensor t in (Tensor[])[full(2, 7.5), full(2L, 7.5), full(1, 2, 7.5), full(1L, 2L, 7.5), full([2L], 7.5),
            full(stackalloc long[] { 2 }, 7.5), full(1, 1, 2, 7.5), full(1L, 1L, 2L, 7.5), full(1, 1, 1, 2, 7.5),
            full(1L, 1L, 1L, 2L, 7.5)]) Values(t.flatten(), [2], [7.5, 7.5]);
        foreach (Tensor t in (Tensor[])[empty(2), empty(2L), empty(1, 2), empty(1L, 2), empty([2L]), empty(stackalloc long[] { 2 }),
            empty(1, 1, 2), empty(1L, 1, 2), empty(1, 1, 1, 2), empty(1L, 1, 1, 2)]) Values(t.fill_(3).flatten(), [2], [3, 3]);
    }

    [Fact]
    public void Constant_WithoutAType_TakesTheDefault()
    {
        Assert.Equal(ScalarType.Float32, get_default_dtype());
        set_default_dtype(ScalarType.Float64);
        try
        {
            using Tensor t = zeros(1);
            Assert.Equal(ScalarType.Float64, t.dtype);
            Assert.Equal(64, finfo().bits);
        }
        finally
        {
            set_default_dtype(ScalarType.Float32);
        }
    }

    [Fact]
    public void Constant_OfEveryType_HasIt()
    {
        using DisposeScope scope = NewDisposeScope();
        foreach (ScalarType type in AllTypes)
        {
            Assert.Equal(type, zeros(2, type).dtype);
            Values(ones(2, type), [2], [1, 1]);
            Values(arange(3, ScalarType.Float32).gt(0).to(type), [3], [0, 1, 1]);
            Assert.Equal(type.ElementSize(), zeros(2, type).element_size());
        }
    }

    [Fact]
    public void Ranges_Count()
    {
        using DisposeScope scope = NewDisposeScope();
        Assert.Equal(ScalarType.Int64, arange(3).dtype);
        Assert.Equal(ScalarType.Float32, arange(0, 1, 0.25).dtype);
        Values(arange(3), [3], [0, 1, 2]);
        Values(arange(1, 4), [3], [1, 2, 3]);
        Values(arange(0, 1, 0.25), [4], [0, 0.25, 0.5, 0.75]);
        Values(linspace(0, 1, 3), [3], [0, 0.5, 1]);
        Values(eye(2), [2, 2], [1, 0, 0, 1]);
        Values(eye(2, 3), [2, 3], [1, 0, 0, 0, 1, 0]);
        Values(randperm(5).sort().Values, [5], [0, 1, 2, 3, 4]);
    }

    [Fact]
    public void Likes_TakeShapeAndType()
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor like = arange(6, ScalarType.Float64).reshape(2, 3);
        foreach (Tensor t in (Tensor[])[zeros_like(like), like.zeros_like(), like.new_zeros([2, 3])]) Values(t, [2, 3], new double[6]);
        foreach (Tensor t in (Tensor[])[ones_like(like), like.ones_like()]) Values(t, [2, 3], [1, 1, 1, 1, 1, 1]);
        foreach (Tensor t in (Tensor[])[full_like(like, 2), like.full_like(2), like.new_full([2, 3], 2)]) Values(t, [2, 3],
            [2, 2, 2, 2, 2, 2]);
        foreach (Tensor t in (Tensor[])[empty_like(like), like.empty_like(), like.new_empty([2, 3]), rand_like(like), like.rand_like(),
            randn_like(like), like.randn_like()])
        {
            Assert.Equal(ScalarType.Float64, t.dtype);
            Assert.Equal([2, 3], t.shape);
        }
        Assert.Equal(ScalarType.Int64, zeros_like(like, ScalarType.Int64).dtype);
    }

    [Fact]
    public void Tensor_FromArraysOfEveryKind_CopiesThem()
    {
        using DisposeScope scope = NewDisposeScope();
        float[] source = [1, 2, 3, 4];
        Tensor copy = tensor(source, stackalloc long[] { 2, 2 });
        source[0] = 9;
        Values(copy, [2, 2], [1, 2, 3, 4]);
        Values(tensor(new float[,] { { 1, 2 }, { 3, 4 } }), [2, 2], [1, 2, 3, 4]);
        Values(tensor(new long[,,] { { { 1, 2 } } }), [1, 1, 2], [1, 2]);
        Values(tensor(new int[,,,] { { { { 1, 2 } } } }), [1, 1, 1, 2], [1, 2]);
        Values(tensor(new List<double> { 1, 2 }), [2], [1, 2]);
        Values(tensor((IList<float>)source, 2, 2), [2, 2], [9, 2, 3, 4]);
        Values(tensor(source.AsMemory(), stackalloc long[] { 4 }), [4], [9, 2, 3, 4]);
        Values(tensor(new[] { (Half)1.5, (Half)2 }), [2], [1.5, 2]);
        Values(tensor(new[] { new BFloat16(1.5f) }), [1], [1.5]);
        Values(tensor(new byte[] { 200 }), [1], [200]);
        Values(tensor(new sbyte[] { -3 }), [1], [-3]);
        Values(tensor(new short[] { -300 }), [1], [-300]);
        Values(tensor(new[] { 1.7, 2.2 }, ScalarType.Int64), [2], [1, 2]);
        Assert.True(tensor(new[] { 1f }, requires_grad: true).requires_grad);
        Assert.Throws<ArgumentException>(() => tensor(new[] { 1f, 2f }, stackalloc long[] { 3 }));
    }

    [Fact]
    public void Tensor_FromANumber_HasNoDimensions()
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor Tensor, ScalarType Type)[] cases =
        [
            (tensor(2f), ScalarType.Float32), (tensor(2.0), ScalarType.Float64), (tensor(2), ScalarType.Int32),
                (tensor(2L), ScalarType.Int64), (tensor((short)2), ScalarType.Int16),
            (tensor((byte)2), ScalarType.Byte), (tensor((sbyte)2), ScalarType.Int8),
                (tensor(2.0, ScalarType.BFloat16), ScalarType.BFloat16), (tensor(new BFloat16(2)), ScalarType.BFloat16),
            (2f, ScalarType.Float32), (2.0, ScalarType.Float64), (2, ScalarType.Int32), (2L, ScalarType.Int64),
                ((Tensor)(Scalar)2.0, ScalarType.Float64),
        ];
        foreach ((Tensor made, ScalarType type) in cases)
        {
            Assert.Equal(type, made.dtype);
            Values(made, [], [2]);
        }
        Assert.Equal(ScalarType.Bool, tensor(true).dtype);
        Values(new[] { 1f, 2f }, [2], [1, 2]);
    }

    [Fact]
    public void FromArray_AndFromBuffer_ShareTheArraysMemory()
    {
        using DisposeScope scope = NewDisposeScope();
        float[] memory = [1, 2, 3, 4];
        Tensor shared = from_array(memory), part = frombuffer(memory, ScalarType.Float32, 2, 1), plain = as_tensor(memory);
        memory[1] = 9;
        Values(shared, [4], [1, 9, 3, 4]);
        Values(part, [2], [9, 3]);
        Values(plain, [4], [1, 9, 3, 4]);
        part.fill_(5);
        Assert.Equal([1, 5, 5, 4], memory);
        Values(from_array(new double[,] { { 1, 2 } }, ScalarType.Float32), [1, 2], [1, 2]);
        Assert.Throws<ArgumentException>(() => frombuffer(memory, ScalarType.Float32, 2, 7));
        Assert.Throws<IndexOutOfRangeException>(() => frombuffer(memory, ScalarType.Float32, 5));
        as_tensor(shared).fill_(6);
        Assert.Equal([6, 6, 6, 6], memory);
    }

    [Fact]
    public void Names_OfDimensions_AreRefused()
    {
        if (typeof(Tensor).GetMethod("has_names") is not null) return; // an assembly that has them
        Assert.Throws<NotSupportedException>(() => zeros([2L], names: ["row"]));
    }
}
