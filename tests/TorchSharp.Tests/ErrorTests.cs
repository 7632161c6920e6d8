using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace TorchSharp.Tests;

/// <summary>What libtorch refuses arrives as a C# exception with its message, and leaves everything usable.</summary>
public sealed class ErrorTests
{
    [Fact]
    public void Mistakes_GiveLibtorchsMessages()
    {
        using DisposeScope scope = NewDisposeScope();
        Refused("mat1 and mat2 shapes cannot be multiplied (2x2 and 3x3)", () => ones(2, 2).mm(ones(3, 3)));
        Refused("must match the size of tensor b", () => ones(2).add(ones(3)));
        Refused("shape '[5]' is invalid for input of size 4", () => ones(2, 2).view(5));
        Refused("Dimension out of range", () => ones(2).sum(3L));
        Refused("index out of range in self", () => ones(2).index_select(0, tensor(new[] { 5L })));
        Refused("grad can be implicitly created only for scalar outputs", () => ones(2, requires_grad: true).mul(2).backward());
        Refused("does not require grad", () => ones(1).backward());
        Refused("a leaf Variable that requires grad is being used in an in-place operation", () => ones(2, requires_grad: true).add_(1));
        Refused("backward through the graph a second time", () =>
        {
            Tensor y = ones(1, requires_grad: true).square().sum();
            y.backward();
            y.backward();
        });
        Refused("Only Tensors of floating point and complex dtype can require gradients", () =>
            ones(1, ScalarType.Int64, requires_grad: true));
        Assert.Equal(2, ones(2).sum().item<float>());
    }

    [Fact]
    public void DisposedTensor_Used_IsAnError()
    {
        Tensor gone = ones(1), other = ones(1);
        gone.Dispose();
        Assert.Throws<InvalidOperationException>(() => gone + other);
        Assert.Throws<InvalidOperationException>(() => other + gone);
        Assert.Throws<InvalidOperationException>(() => cat([other, gone]));
        Assert.Throws<InvalidOperationException>(() => gone.shape);
        other.Dispose();
    }

    [Fact]
    public void Errors_OnManyThreads_KeepTheirOwnMessages() => Parallel.For(0, 32, i =>
    {
        using DisposeScope scope = NewDisposeScope();
        Refused($"shape '[{i + 1}]' is invalid for input of size 100", () => ones(100).view(i + 1));
    });

    private static void Refused(string message, Action action) => Assert.Contains(message,
        Assert.Throws<ExternalException>(action).Message, StringComparison.Ordinal);
}
